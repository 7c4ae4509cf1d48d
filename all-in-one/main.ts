import { run } from '#all-in-one/run.ts';

await run(process.argv.slice(2), { ...process.env });
