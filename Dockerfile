# The service as an image: docker build -t ltu-compute . && docker run -p 8000:8000 -v ltu:/data ltu-compute
# It holds the recognition models (it fetches 280 MB); --build-arg MODELS= leaves them out.

# By tag, so that a rebuild gets Debian's security updates: see SECURITY.md.
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/ltu-compute
ENV PATH="/opt/ltu-compute/bin:$PATH"
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY ltu_compute ltu_compute
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && pip uninstall -y setuptools
ARG MODELS=default
RUN mkdir /opt/ltu-compute/models \
    && if [ "$MODELS" = default ]; then ltu-compute models install --to /opt/ltu-compute/models; \
    elif [ -n "$MODELS" ]; then ltu-compute models install --to /opt/ltu-compute/models $MODELS; fi

FROM python:3.13-slim-bookworm
# Debian keeps only the newest build of a package: pinning one breaks the build with its next update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tesseract-ocr tesseract-ocr-fra tesseract-ocr-deu \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data ltu \
    && install -d -o ltu -g ltu -m 0700 /data
COPY --from=build /opt/ltu-compute /opt/ltu-compute
ENV PATH="/opt/ltu-compute/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    OMP_THREAD_LIMIT=1 \
    LTU_COMPUTE_DATA_DIR=/data \
    LTU_COMPUTE_BUILTIN_MODELS_DIR=/opt/ltu-compute/models \
    LTU_COMPUTE_HOST=0.0.0.0
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('LTU_COMPUTE_PORT', 8000)), timeout=2); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["ltu-compute", "serve"]
