# The packages of the tests that need the libraries of a stage. hack/test/stages copies the tests into a pod.
# Build context: the root of the repository, with the wheel in dist/.
ARG BASE_IMAGE=fusionrun.local/train
FROM ${BASE_IMAGE}
USER root
# In a pod, the root file system is read-only and /tmp is writable.
ENV PYTHONUNBUFFERED=1 HOME=/tmp HF_HOME=/tmp/hf XDG_CACHE_HOME=/tmp/cache PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/fusionrun
COPY images/tests.lock ./
RUN pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: -r tests.lock
COPY dist/*.whl ./
RUN pip install --no-cache-dir --no-deps ./*.whl
USER 1000:1000
