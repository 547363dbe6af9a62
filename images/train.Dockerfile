# SFT, DPO and what else loads the target model: torch, TRL, DeepSpeed.
#
# FLAVOUR=cuda (the default): with the C compiler that Triton calls at its first kernel. FLAVOUR=cpu: without.
# The stages switch off the one DeepSpeed operator that would need a C++ compiler (deepspeed_shm_comm, for inference
# only). No torchvision, no torchaudio: transformers would import them.
# Context: the root of the repository, with the wheel in dist/.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}
ARG FLAVOUR=cuda
# Triton needs gcc, libc's headers and the Python.h of this image's interpreter. The python:* images have Python.h;
# where Python comes from Debian, add python3-dev. Empty: the base image has them all.
ARG COMPILER_PACKAGES="gcc libc6-dev"
# The package index that has the wanted build of torch: empty for CUDA, the PyTorch CPU wheel index for CPUs.
ARG TORCH_INDEX=""
USER root
RUN getent passwd 1000 >/dev/null || useradd --uid 1000 --user-group --create-home fusionrun
RUN [ -x /opt/venv/bin/python ] || python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# The root file system is read-only in a pod: what must be written goes to /tmp.
ENV PYTHONUNBUFFERED=1 HOME=/tmp HF_HOME=/tmp/hf XDG_CACHE_HOME=/tmp/cache \
    TORCHINDUCTOR_CACHE_DIR=/tmp/torchinductor TRITON_CACHE_DIR=/tmp/triton TORCH_EXTENSIONS_DIR=/tmp/torch_extensions \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /tmp

RUN if [ "$FLAVOUR" = cuda ] && [ -n "$COMPILER_PACKAGES" ]; then \
        apt-get update \
     && apt-get install --yes --no-install-recommends $COMPILER_PACKAGES \
     && rm -rf /var/lib/apt/lists/*; \
    fi
# Heavy first: the wheel changes most often and comes last.
COPY images/train.lock /opt/fusionrun/
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r /opt/fusionrun/train.lock
COPY dist/*.whl /opt/fusionrun/
RUN pip install --no-cache-dir --no-deps /opt/fusionrun/*.whl
USER 1000:1000
# The build fails where Triton could not compile its CUDA driver in a pod.
RUN [ "$FLAVOUR" != cuda ] || python -m fusionrun_stages.pod.compiler
