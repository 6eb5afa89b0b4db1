# Measured: gcc make
cat > greet.c <<'END'
#include <stdio.h>
void greet(const char *who) { printf("hello, %s\n", who); }
END
cat > main.c <<'END'
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
void greet(const char *who);
static void *run(void *who) { greet(who); return NULL; }
int main(int count, char **words) {
    pthread_t thread;
    if (count != 2 || pthread_create(&thread, NULL, run, words[1])) return 1;
    return pthread_join(thread, NULL);
}
END
printf 'CFLAGS = -O1 -g -Wall -pthread\nprogram: main.o libgreet.so\n' > Makefile
printf '\t$(CC) $(CFLAGS) -o $@ main.o -L. -lgreet -Wl,-rpath,$(CURDIR)\n' >> Makefile
printf 'libgreet.so: greet.c\n\t$(CC) $(CFLAGS) -shared -fPIC -o $@ $<\n' >> Makefile
make -s -j2
test "$(./program you)" = 'hello, you'
gcc -c -o greet.o greet.c && ar rcs libstatic.a greet.o && nm libstatic.a | grep -q greet
gcc -pipe -static -pthread -o static main.c libstatic.a && strip static
test "$(./static me)" = 'hello, me'
echo '#include "none.h"' > wrong.c
! gcc wrong.c 2> /dev/null
ldd program > /dev/null
