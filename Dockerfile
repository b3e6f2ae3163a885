# For those who have Docker: `docker build --tag headwater/headwater .`
#
# What CI builds, tests and releases is the archive of `cargo xtask image`; this file runs that
# command and unpacks its layer, so that both images hold the same programs in the same places.
FROM rust:1.95.0 AS build
WORKDIR /source
COPY . .
RUN cargo xtask image --output /image.tar \
 && mkdir /archive /image \
 && tar --extract --file /image.tar --directory /archive \
 && tar --extract --file /archive/*.tar --directory /image --numeric-owner --same-permissions

FROM scratch
LABEL org.opencontainers.image.title="headwater" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
ENV PATH=/usr/bin
USER 65532:65532
EXPOSE 7650 7651 7680
ENTRYPOINT ["/usr/bin/headwater-broker"]
