# The certificate authority, keys and kubeconfig files, created once. Sourced.

DAYS=3650

make_keys() {
    mkdir -p "$PKI"
    chmod 700 "$PKI"
    # Incomplete keys, or keys for other addresses, are replaced.
    local made_for="$NODE_IP $KUBERNETES_SERVICE_IP $NODE_NAME"
    if [[ $(cat "$PKI/made-for" 2>/dev/null) != "$made_for" ]]; then
        log "creating keys"
        rm -rf "${PKI:?}"/*
        authority ca fusionrun-cluster
        openssl genrsa -out "$PKI/sa.key" 2048 2>/dev/null
        openssl rsa -in "$PKI/sa.key" -pubout -out "$PKI/sa.pub" 2>/dev/null
        local kubernetes=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
        certificate ca apiserver /CN=kube-apiserver serverAuth \
            "IP:$NODE_IP,IP:127.0.0.1,IP:$KUBERNETES_SERVICE_IP,DNS:localhost,$kubernetes,DNS:kubernetes.default.svc.cluster.local"
        certificate ca apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet clientAuth
        certificate ca admin /O=system:masters/CN=admin clientAuth
        certificate ca kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" clientAuth,serverAuth "IP:$NODE_IP,DNS:$NODE_NAME"
        certificate ca controller-manager /CN=system:kube-controller-manager clientAuth
        certificate ca scheduler /CN=system:kube-scheduler clientAuth
        certificate ca proxy /CN=system:kube-proxy clientAuth
        # The training operator could create these, but the kubelet takes a minute to mount a changed Secret into a running
        # pod. It uses valid certificates and rotates them.
        authority training-operator-ca training-operator-ca
        certificate training-operator-ca training-operator /CN=training-operator.kubeflow.svc serverAuth \
            DNS:training-operator.kubeflow.svc
        # Its certificate rotation requires the key of the authority in PKCS #1.
        openssl rsa -traditional -in "$PKI/training-operator-ca.key" -out "$PKI/training-operator-ca.key" 2>/dev/null
        echo "$made_for" >"$PKI/made-for"
    fi
    local user
    for user in admin kubelet controller-manager scheduler proxy; do kubeconfig "$user" >"$PKI/$user.kubeconfig"; done
    install -m 600 "$PKI/admin.kubeconfig" "$KUBECONFIG"
}

# authority NAME COMMON-NAME: a self-signed authority.
authority() {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$PKI/$1.key" -out "$PKI/$1.crt" -days "$DAYS" \
        -subj "/O=$2/CN=$2" -addext "subjectAltName=DNS:$2" -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature,keyEncipherment \
        2>/dev/null
}

# certificate AUTHORITY NAME SUBJECT USAGE [ADDRESSES]: a key and its certificate, signed by AUTHORITY.
certificate() {
    local extensions="extendedKeyUsage=$4"$'\n'"keyUsage=digitalSignature,keyEncipherment"
    [[ -z ${5:-} ]] || extensions+=$'\n'"subjectAltName=$5"
    openssl req -newkey rsa:2048 -nodes -keyout "$PKI/$2.key" -out "$PKI/$2.csr" -subj "$3" 2>/dev/null
    openssl x509 -req -in "$PKI/$2.csr" -CA "$PKI/$1.crt" -CAkey "$PKI/$1.key" -CAcreateserial -days "$DAYS" \
        -out "$PKI/$2.crt" -extfile <(echo "$extensions") 2>/dev/null
    rm "$PKI/$2.csr"
}

# kubeconfig USER: with inline keys, so that the file can be copied.
kubeconfig() {
    cat <<END
apiVersion: v1
kind: Config
clusters:
- name: fusionrun
  cluster: {server: "$API_SERVER", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$PKI/$1.crt"), client-key-data: $(base64 -w0 "$PKI/$1.key")}
contexts:
- name: fusionrun
  context: {cluster: fusionrun, user: $1}
current-context: fusionrun
END
}
