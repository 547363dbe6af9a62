# The tests that need a stage's own libraries, run in a pod of the local cluster. Built on the train image, which
# locally shares one environment with the others. Context: the root of the repository.
ARG BASE_IMAGE=fusionrun.local/train
FROM ${BASE_IMAGE}
USER root
COPY images/tests.lock /opt/fusionrun/
RUN pip install --no-cache-dir -r /opt/fusionrun/tests.lock
COPY pyproject.toml /opt/fusionrun/
COPY tests /opt/fusionrun/tests
COPY hack/tiny /opt/fusionrun/hack/tiny
WORKDIR /opt/fusionrun
USER 1000:1000
