/** `node s3-server-process.ts {port} {folder}`: miniflare's R2 as an S3 server with conditional writes, see `s3-server.ts`. */
import { Miniflare, convertV4MiniflareOptions } from 'miniflare';

const [port = '0', folder = ''] = process.argv.slice(2);
const miniflare = new Miniflare(
  convertV4MiniflareOptions({
    name: 'r2',
    modules: true,
    script: "export default { fetch() { return new Response('here'); } }",
    compatibilityDate: '2026-10-20',
    host: '127.0.0.1',
    port: Number(port),
    cf: false,
    resourcePersistencePath: folder,
    r2Buckets: {
      SEGMENTS: {
        id: 'segments',
        s3Credentials: { accessKeyId: 'key-of-the-tests', secretAccessKey: 'secret-of-the-tests' },
      },
    },
  }),
);
await miniflare.ready;
