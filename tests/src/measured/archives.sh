# Measured: tar gzip xz bzip2
mkdir -p one/two && head -c 100000 /dev/urandom > one/two/large && echo text > one/file
ln -s file one/link && ln one/file one/hard && mkfifo one/fifo && chmod 640 one/file
for way in '' --gzip --xz --bzip2; do
    tar -c $way -f "all$way.tar" one
    mkdir "out$way" && tar -x -f "all$way.tar" -C "out$way"
    cmp one/two/large "out$way/one/two/large"
    tar -d -f "all$way.tar"
done
tar -c one | tar -x -C out --strip-components=1
cp one/two/large large
for tool in gzip xz bzip2; do
    $tool -k large && $tool -t large.*
    $tool -dc large.* | cmp - large
    rm large.*
done
xz -T2 -k large && xz -d -f large.xz
touch -d '2001-02-03' one/file && tar -c -f dated.tar one && tar -tvf dated.tar | grep -q 2001-02-03
rm -r one
