# Build the programs of the cluster from Go modules, once per set of inputs. Sourced.

COMPONENTS=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)

# Link all programs into $BIN, and build those that the cache lacks.
build_binaries() {
    mkdir -p "$BIN" "$CACHE/bin" "$LOG"
    local built name
    # Go's caches take gigabytes and are only needed for these builds.
    local -x GOCACHE=$CACHE/go/build GOMODCACHE=$CACHE/go/modules GOFLAGS="${GOFLAGS:-} -modcacherw"
    built=$(components_folder)
    [[ -d $built ]] || build_components "$built"
    for name in "${COMPONENTS[@]}"; do ln -sfn "$built/cluster" "$BIN/$name"; done
    ln -sfn "$built/wait-for-host" "$BIN/wait-for-host"
    install_module "helm.sh/helm/v3/cmd/helm@$HELM_VERSION" helm helm
    install_module "github.com/coredns/coredns@$COREDNS_VERSION" coredns coredns
    install_module "sigs.k8s.io/kube-network-policies/cmd@$NETWORK_POLICIES_VERSION" cmd kube-network-policies
    install_module "github.com/kubeflow/training-operator/cmd/training-operator.v1@$TRAINING_OPERATOR_VERSION" \
        training-operator.v1 training-operator
    rm -rf "$CACHE/go"
}

components_folder() {
    local source=$HERE/../components key
    key=$({ go env GOVERSION GOARCH; linker_flags; cat "$source"/go.mod "$source"/go.sum "$source"/*.go "$source"/*/*.go; } | sha256sum)
    echo "$CACHE/bin/components-${key:0:16}"
}

# The version, as a release build of Kubernetes sets it. The default is v0.0.0-master.
linker_flags() {
    local version package
    version=$(awk '$1 == "k8s.io/kubernetes" {print $2}' "$HERE/../components/go.mod")
    printf -- '-s -w'
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        printf ' -X %s.gitVersion=%s' "$package" "$version"
    done
}

build_components() {
    log "building Kubernetes and etcd (takes minutes, once)"
    rm -rf "$1.part"
    mkdir -p "$1.part"
    (
        cd "$HERE/../components"
        export CGO_ENABLED=0
        go build -trimpath -ldflags "$(linker_flags)" -o "$1.part/cluster" .
        go build -trimpath -ldflags '-s -w' -o "$1.part/wait-for-host" ./wait-for-host
    ) >"$LOG/build-components.log" 2>&1 || fail "the build failed: see $LOG/build-components.log"
    mv "$1.part" "$1"
}

# Install the program PROGRAM of MODULE@VERSION and link it as NAME.
install_module() {
    local module=$1 program=$2 name=$3 built
    built=$CACHE/bin/$name-${module##*@}-$(go env GOVERSION)
    if [[ ! -d $built ]]; then
        log "building $name ${module##*@} (takes minutes, once)"
        rm -rf "$built.part"
        # Outside any module, so that only the versions in MODULE's go.mod count.
        (
            cd /
            CGO_ENABLED=0 GOBIN=$built.part go install -trimpath -ldflags '-s -w' "$module"
        ) >"$LOG/build-$name.log" 2>&1 || fail "the build of $name failed: see $LOG/build-$name.log"
        [[ $name != training-operator ]] || copy_manifests "$module" "$built.part"
        mv "$built.part" "$built"
    fi
    ln -sfn "$built/$program" "$BIN/$name"
}

# copy_manifests MODULE@VERSION FOLDER: the manifests in the source of the training operator.
copy_manifests() {
    local module=${1/\/cmd\/*@/@}
    cp -r "$(cd / && go mod download -json "$module" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')/manifests" "$2/manifests"
    chmod -R u+w "$2/manifests" # the module cache may be read-only
}
