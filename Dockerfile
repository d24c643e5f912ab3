# The agent's image: one binary and the client programs of PostgreSQL 15.
#
# Dependencies are built in a layer of their own, which only Cargo.toml and Cargo.lock invalidate.

FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
# The image's own toolchain is the pinned one; without this, rustup would fetch the developers' components as well.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it \
    && echo 'fn main() {}' | tee src/main.rs tests/it/main.rs > /dev/null \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src
COPY src src
# Newer than the placeholders, whatever the clock of the machine that checked them out.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked \
    && strip target/release/kubebackup

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates postgresql-client-15 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /build/target/release/kubebackup /usr/local/bin/kubebackup
COPY LICENSE /usr/share/doc/kubebackup/LICENSE

# A number, so that Kubernetes can see that it is not root. Nothing is written to the file system.
USER 10001:10001
WORKDIR /
ENTRYPOINT ["/usr/local/bin/kubebackup"]
CMD ["--help"]

ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kubebackup" \
      org.opencontainers.image.description="PostgreSQL backups for Kubernetes whose restoration is proven equal to the source" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://gitlab.com/kubebackup/kubebackup" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
