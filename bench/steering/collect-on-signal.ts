/**
 * Loaded before a server whose memory is measured (`node --expose-gc --import`): collects all garbage at SIGUSR2, so that
 * what is left is what the server holds, not what happened to be lying about.
 */
process.on('SIGUSR2', () => {
  if (globalThis.gc === undefined) throw new Error('start node with --expose-gc');
  globalThis.gc();
});
