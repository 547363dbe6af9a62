# Stages that need no GPU: data processing, HTTP requests, grading. No torch.
# Build context: the root of the repository, with the wheel in dist/.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}
USER root
RUN getent passwd 1000 >/dev/null || useradd --uid 1000 --user-group --create-home fusionrun
RUN [ -x /opt/venv/bin/python ] || python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# In a pod, the root file system is read-only and /tmp is writable.
ENV PYTHONUNBUFFERED=1 HOME=/tmp HF_HOME=/tmp/hf MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /tmp

# The wheel changes most often, so install it last.
COPY images/data.lock /opt/fusionrun/
RUN pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: -r /opt/fusionrun/data.lock
COPY dist/*.whl /opt/fusionrun/
RUN pip install --no-cache-dir --no-deps /opt/fusionrun/*.whl
USER 1000:1000
