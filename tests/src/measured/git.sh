# Measured: git
git config --global user.name "A User"
git config --global user.email user@example.org
git init -q -b main one
cd one
printf 'one\ntwo\n' > file
mkdir folder && echo three > folder/other && ln -s file link && chmod 755 folder/other
git add .
git commit -q -m first
echo four >> file
git diff --stat | grep -q '1 insertion'
! git diff --quiet
git commit -q -a -m second
git checkout -q -b side HEAD~1
echo five > side && git add side && git commit -q -m third
git checkout -q main
git merge -q -m merge side
git mv file moved && git rm -q side && git commit -q -m fourth
git stash list && echo six >> moved && git stash -q && git stash pop -q && git checkout -q .
test "$(git log --oneline | wc -l)" -eq 5
git tag -a -m tag v1
git archive HEAD | tar tf - > /dev/null
# One shares its objects by hard links, the other gets them through two more processes.
git clone -q . ../two
git clone -q "file://$PWD" ../three
echo seven >> moved && git commit -q -a -m fifth
git -C ../two pull -q
test "$(git -C ../two rev-parse HEAD)" = "$(git rev-parse HEAD)"
git push -q ../three HEAD:refs/heads/pushed
git worktree add -q ../four side
git gc -q
git fsck --no-progress
test -z "$(git status --short)"
