#!/bin/sh
# Runs the tests of agent/tests/kubernetes.rs against a real API server of Kubernetes: etcd and
# kube-apiserver, on loopback, without a node. Not part of `cargo xtask test`: it builds
# kube-apiserver from Debian's source package with Debian's Go, which takes some minutes once.
#
#   tests/kubernetes/apiserver.sh [FOLDER]     FOLDER keeps what was built; target/apiserver
#
# Needs Debian 12 (apt-get, dpkg-dev, make, rsync, jq), openssl, curl. Installs nothing.
set -eu

project=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:-$project/target/apiserver}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
run=$folder/run
etcd_port=23790
peer_port=23800
port=26443

# Brings etcd, Go and the source of Kubernetes.
bring() {
    cd "$folder"
    mkdir -p apt/lists/partial apt/cache/archives/partial
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    debian="[signed-by=$keys] http://deb.debian.org/debian bookworm main"
    printf 'deb %s\ndeb-src %s\n' "$debian" "$debian" > sources.list
    set -- -qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=- \
        -o "Dir::State::lists=$folder/apt/lists" -o "Dir::Cache=$folder/apt/cache"
    apt-get "$@" update
    apt-get "$@" download golang-1.19-go golang-1.19-src etcd-server \
        golang-github-modern-go-reflect2-dev
    apt-get "$@" source --download-only kubernetes
    for package in *.deb; do
        dpkg-deb -x "$package" root
    done
    rm -rf src
    dpkg-source -x kubernetes_*.dsc src
    # The one in the source is older than what Go 1.18 changed: the server panics when it reads the
    # labels of an object.
    reflect2=src/vendor/github.com/modern-go/reflect2
    rm "$reflect2"/*.go "$reflect2"/*.s
    cp root/usr/share/gocode/src/github.com/modern-go/reflect2/*.go \
        root/usr/share/gocode/src/github.com/modern-go/reflect2/*.s "$reflect2"
}

# As the package builds its client. The module cache is not used: all is in the source.
build() {
    cd "$folder/src"
    mkdir -p .go/src/k8s.io
    ln -sfn ../../.. .go/src/k8s.io/kubernetes
    env PATH="$folder/root/usr/lib/go-1.19/bin:$PATH" HOME="$folder/home" CGO_ENABLED=0 \
        GOPATH="$folder/src/.go" GOCACHE="$folder/gocache" GOPROXY=off GOFLAGS=-p=1 GOMAXPROCS=1 \
        make WHAT=cmd/kube-apiserver
}

certificates() {
    cd "$run"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.crt
    openssl req -newkey rsa:2048 -nodes -subj /CN=apiserver -keyout server.key -out server.csr
    printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' > server.ext
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
        -extfile server.ext -out server.crt
    openssl genrsa -out accounts.key 2048
    printf 'adminsecret,admin,1,system:masters\nagentsecret,agent,2\n' > tokens.csv
    cat > kubeconfig <<END
apiVersion: v1
kind: Config
clusters:
- name: test
  cluster: { server: "https://127.0.0.1:$port", certificate-authority: ca.crt }
users:
- name: agent
  user: { token: agentsecret }
contexts:
- name: test
  context: { cluster: test, user: agent }
current-context: test
END
}

start_apiserver() {
    "$folder/src/_output/bin/kube-apiserver" --etcd-servers="http://127.0.0.1:$etcd_port" \
        --bind-address=127.0.0.1 --secure-port="$port" --insecure-port=0 \
        --tls-cert-file="$run/server.crt" --tls-private-key-file="$run/server.key" \
        --token-auth-file="$run/tokens.csv" --authorization-mode=RBAC \
        --service-account-issuer=https://test --service-account-key-file="$run/accounts.key" \
        --service-account-signing-key-file="$run/accounts.key" \
        --disable-admission-plugins=ServiceAccount --service-cluster-ip-range=10.0.0.0/24 \
        --watch-cache --cert-dir="$run" >> "$run/apiserver.log" 2>&1 &
    echo $! > "$run/apiserver.pid"
    tries=0
    until ask GET /readyz > /dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ]; then
            tail "$run/apiserver.log"
            exit 1
        fi
        sleep 1
    done
}

# METHOD PATH [BODY [TYPE]]: asks the server as its administrator.
ask() {
    curl --silent --show-error --fail --cacert "$run/ca.crt" -H 'Authorization: Bearer adminsecret' \
        -H "Content-Type: ${4:-application/json}" -X "$1" ${3:+--data "$3"} \
        "https://127.0.0.1:$port$2"
}

stop() {
    if [ -f "$run/$1.pid" ]; then
        # At once: what it does before it ends of itself is not what is tested.
        kill -KILL "$(cat "$run/$1.pid")" 2> /dev/null || true
        while kill -0 "$(cat "$run/$1.pid")" 2> /dev/null; do
            sleep 0.2
        done
        rm "$run/$1.pid"
    fi
}

case ${2:-} in
# For the tests themselves.
ask)
    shift 2
    ask "$@"
    exit
    ;;
stop)
    stop apiserver
    exit
    ;;
start)
    start_apiserver
    exit
    ;;
esac

[ -d "$folder/src/cmd" ] || bring
[ -x "$folder/src/_output/bin/kube-apiserver" ] || build
rm -rf "$run"
mkdir -p "$run"
certificates > "$run/openssl.log" 2>&1
trap 'stop apiserver; stop etcd' EXIT
trap 'exit 1' INT TERM
"$folder/root/usr/bin/etcd" --data-dir "$run/etcd" --logger=zap \
    --listen-client-urls "http://127.0.0.1:$etcd_port" \
    --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" > "$run/etcd.log" 2>&1 &
echo $! > "$run/etcd.pid"
start_apiserver
# No more than the agent's role in a cluster gives it.
roles=/apis/rbac.authorization.k8s.io/v1
role='{"metadata":{"name":"agent"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["list","watch"]}]}'
ask POST "$roles/clusterroles" "$role" > /dev/null
binding='{"metadata":{"name":"agent"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"agent"},"subjects":[{"kind":"User","name":"agent"}]}'
ask POST "$roles/clusterrolebindings" "$binding" > /dev/null

cd "$project"
export KUBECONFIG="$run/kubeconfig" RINGFENCE_APISERVER="$project/tests/kubernetes/apiserver.sh $folder"
cargo test -p ringfence --test kubernetes -- --ignored --nocapture
