# The image of both agents: one program, and pg_dump and pg_restore of the majors that it is to serve.
#
# Built from public base images and Debian's archive alone: `docker build .` and `buildah bud .` need nothing else.
# What it holds, why it is glibc, and how to add a major: docs/image.md. `make image-test` builds and runs it.

# bookworm offers PostgreSQL 15, trixie 17: --build-arg DEBIAN=trixie --build-arg POSTGRES_MAJORS=17.
ARG DEBIAN=bookworm

# The oldest base of all, so that the program runs on every newer one.
FROM docker.io/library/rust:1.95.0-slim-bookworm AS build
WORKDIR /build
# A layer that only Cargo.toml and Cargo.lock invalidate: all dependencies, and a program that does nothing.
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
    && strip target/release/kubebackup \
    && ! grep -q -e KUBEBACKUP_FAILPOINT -e KUBEBACKUP_CLOCK_FILE target/release/kubebackup

# Debian's client package brings psql, Perl and wrappers. Two of its programs are used.
FROM docker.io/library/debian:${DEBIAN}-slim AS client
ARG POSTGRES_MAJORS=15
RUN apt-get update \
    && for major in ${POSTGRES_MAJORS}; do \
        apt-get install -y --no-install-recommends "postgresql-client-${major}" \
        && install -D -t "/programs/usr/lib/postgresql/${major}/bin" \
            "/usr/lib/postgresql/${major}/bin/pg_dump" "/usr/lib/postgresql/${major}/bin/pg_restore" \
        || exit 1; \
    done

FROM docker.io/library/debian:${DEBIAN}-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libpq5 liblz4-1 libzstd1 zlib1g \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/*
COPY --from=client /programs/ /
COPY --from=build /build/target/release/kubebackup /usr/local/bin/kubebackup
COPY LICENSE /usr/share/doc/kubebackup/LICENSE
# A library that one of them lacks ends the build, not the first backup.
RUN for program in /usr/lib/postgresql/*/bin/*; do "${program}" --version || exit 1; done \
    && kubebackup --version

# A number, so that Kubernetes can see that it is not root. Nothing is written to the file system.
USER 10001:10001
WORKDIR /
EXPOSE 9847
ENTRYPOINT ["/usr/local/bin/kubebackup"]
CMD ["--help"]

ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kubebackup" \
      org.opencontainers.image.description="PostgreSQL backups for Kubernetes whose restoration is proven equal to the source" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://gitlab.com/kubebackup/kubebackup" \
      org.opencontainers.image.documentation="https://gitlab.com/kubebackup/kubebackup/-/tree/main/docs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
