import { defineConfig } from 'vitest/config';

// Two projects: `unit` is what `npm run check` runs (fast, no external program but ffmpeg-free code); `service`
// starts real servers, ffmpeg and browsers and runs one file at a time because the machine's cores are the limit.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            '{protocol,runtime,origin,transcoder,steering,edge-worker,cdn,all-in-one,bench}/**/*.test.ts',
            'tests/{tidy,support,sim}/**/*.test.ts',
          ],
          exclude: ['**/*.service.test.ts', 'node_modules/**'],
          testTimeout: 20_000,
        },
      },
      {
        test: {
          name: 'service',
          include: ['**/*.service.test.ts', 'tests/**/*.test.ts'],
          exclude: ['node_modules/**', 'tests/{tidy,support,sim}/**/!(*.service).test.ts'],
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
