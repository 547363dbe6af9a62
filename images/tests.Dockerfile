# The tests that need a stage's own libraries, run in a pod of the local cluster on its one runtime layer.
# Context: the root of the repository, with the wheel in dist/.
ARG BASE_IMAGE=fusionrun.local/train
FROM ${BASE_IMAGE}
USER root
# The root file system is read-only in a pod: what must be written goes to /tmp.
ENV PYTHONUNBUFFERED=1 HOME=/tmp HF_HOME=/tmp/hf XDG_CACHE_HOME=/tmp/cache PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/fusionrun
COPY images/tests.lock ./
RUN pip install --no-cache-dir -r tests.lock
COPY dist/*.whl ./
RUN pip install --no-cache-dir --no-deps ./*.whl
COPY pyproject.toml ./
COPY tests tests
COPY hack/tiny hack/tiny
USER 1000:1000
