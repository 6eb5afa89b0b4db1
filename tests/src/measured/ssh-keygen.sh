# Measured: ssh-keygen
for kind in ed25519 ecdsa; do
    ssh-keygen -q -t $kind -N 'a phrase' -C comment -f key-$kind
    ssh-keygen -l -f key-$kind.pub > /dev/null
    ssh-keygen -p -P 'a phrase' -N '' -f key-$kind > /dev/null
    ssh-keygen -y -f key-$kind | cut -d ' ' -f 1,2 | grep -qF -f - key-$kind.pub
done
echo text > text
ssh-keygen -q -Y sign -f key-ed25519 -n file text
echo "user $(cat key-ed25519.pub)" > signers
ssh-keygen -q -Y verify -f signers -I user -n file -s text.sig < text
# Where a key is by default, and the list of hosts that goes with it.
mkdir -m 700 -p ~/.ssh
ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
echo "host $(cut -d ' ' -f 1,2 key-ecdsa.pub)" > ~/.ssh/known_hosts
ssh-keygen -F host -f ~/.ssh/known_hosts > /dev/null
ssh-keygen -R host -f ~/.ssh/known_hosts > /dev/null 2>&1
