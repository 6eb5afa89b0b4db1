# Measured: bash sort awk sed grep xargs find
set -o pipefail
seq 1 2000 | sort -R | sort -n | tail -n 1 | grep -qx 2000
# Larger than the memory that it is given: sorted in files.
seq 1 20000 | sort -S 64k -r --parallel=2 | head -n 1 > /dev/null || test $? -eq 141
mkdir -p tree/{a,b,c}/{1,2} && for at in tree/*/*; do echo "$at $RANDOM" > "$at/file"; done
test "$(find tree -type f -name 'f*' -size -2 | wc -l)" -eq 6
find tree -type f -print0 | xargs -0 -n 2 -P 2 grep -h tree | awk '{ n++ } END { exit n != 6 }'
find tree -name file -newer tree -exec sed -i 's/tree/forest/' {} +
test "$(grep -rl forest tree | wc -l)" -eq 6
diff <(printf 'a\nb\n') <(printf 'a\nb\n')
comm -12 <(printf 'a\nb\n') <(printf 'b\nc\n') | grep -qx b
cat <<END | tr a-z A-Z | tee upper | rev | cut -c 1-3 | uniq -c > /dev/null
text of a here document
END
read -r word < upper && test "$word" = 'TEXT OF A HERE DOCUMENT'
printf '%s\n' {a..c} | paste -sd, | grep -qx a,b,c
mktemp > /dev/null && mktemp -d > /dev/null
install -m 640 -D upper installed/here/upper && cp -a tree copy && mv copy moved && rm -r moved
dd if=/dev/zero of=zeros bs=4096 count=8 status=none && truncate -s 100 zeros && split -b 50 zeros
sha256sum zeros | sha256sum -c --quiet && base64 zeros | base64 -d | cmp - zeros
ln -s tree/a link && readlink -f link > /dev/null && realpath . > /dev/null && df . > /dev/null
(sleep 0.01 & wait) && timeout 5 true && nice true && nohup true > /dev/null 2>&1
trap 'true' USR1 && kill -USR1 $$ && date > /dev/null && id > /dev/null && uname -a > /dev/null
hostname > /dev/null && whoami > /dev/null && nproc > /dev/null && ulimit -n > /dev/null
env -i /bin/sh -c 'echo $0' > /dev/null && ls -la --color=always / > /dev/null
