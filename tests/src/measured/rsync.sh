# Measured: rsync
mkdir -p from/folder && echo text > from/file && head -c 50000 /dev/urandom > from/folder/large
ln -s file from/link && ln from/file from/hard && chmod 600 from/file
rsync -aH from/ to/
diff -r from to
echo more >> from/file && rm from/hard && touch -d @0 from/folder/large
rsync -a --delete --checksum --itemize-changes from/ to/ > changes
grep -q deleting changes && diff -r from to
rsync -a --inplace --partial --link-dest="$PWD/to" from/ linked/
test linked/folder/large -ef to/folder/large
