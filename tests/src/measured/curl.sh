# Measured: curl
test "$(curl -sS http://localhost:8080/file)" = served
test "$(curl -sS --cacert certificate.pem https://localhost:8443/file)" = served
curl -sS -o saved -D headers -z 'Thu, 01 Jan 1970 00:00:00 GMT' http://localhost:8080/file
test "$(cat saved)" = served && grep -q '200' headers
# The certificates of authorities are read, and this server has none of them.
! curl -sS https://localhost:8443/file 2> refusal
grep -qi certificate refusal
