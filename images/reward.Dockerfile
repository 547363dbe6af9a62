# The stage score: torch and transformers, without the training packages. README.md explains how custom code for an
# older transformers runs.
#
# FLAVOUR=cuda (default) includes the C compiler that Triton needs for its first kernel. FLAVOUR=cpu does not.
# Build context: the root of the repository, with the wheel in dist/.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}
ARG FLAVOUR=cuda
# Triton needs gcc, the headers of libc, and Python.h. The python:* images have Python.h; if Python comes from Debian,
# add python3-dev. Leave this empty if the base image has all of them.
ARG COMPILER_PACKAGES="gcc libc6-dev"
# Index of the torch build, such as the PyTorch wheel index for CPUs; empty for the CUDA build of PyPI (torch.lock).
# Only torch and its dependencies come from this index, and without hashes: its builds differ from those in torch.lock.
ARG TORCH_INDEX=""
USER root
RUN getent passwd 1000 >/dev/null || useradd --uid 1000 --user-group --create-home fusionrun
RUN [ -x /opt/venv/bin/python ] || python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# In a pod, the root file system is read-only and /tmp is writable.
ENV PYTHONUNBUFFERED=1 HOME=/tmp HF_HOME=/tmp/hf XDG_CACHE_HOME=/tmp/cache \
    TORCHINDUCTOR_CACHE_DIR=/tmp/torchinductor TRITON_CACHE_DIR=/tmp/triton TORCH_EXTENSIONS_DIR=/tmp/torch_extensions \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /tmp

RUN if [ "$FLAVOUR" = cuda ] && [ -n "$COMPILER_PACKAGES" ]; then \
        apt-get update \
     && apt-get install --yes --no-install-recommends $COMPILER_PACKAGES \
     && rm -rf /var/lib/apt/lists/*; \
    fi
# The wheel changes most often, so install it last.
COPY images/reward.lock images/torch.lock /opt/fusionrun/
RUN cd /opt/fusionrun \
 && if [ -n "$TORCH_INDEX" ]; then \
        pip install --no-cache-dir --index-url "$TORCH_INDEX" "$(grep -o '^torch==[^ ]*' torch.lock)"; \
    fi \
 && pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: \
        $([ -n "$TORCH_INDEX" ] || echo -r torch.lock) -r reward.lock
COPY dist/*.whl /opt/fusionrun/
RUN pip install --no-cache-dir --no-deps /opt/fusionrun/*.whl
USER 1000:1000
# Fail the build if Triton cannot compile its CUDA driver as the user of the pod.
RUN [ "$FLAVOUR" != cuda ] || python -m fusionrun_stages.pod.compiler
