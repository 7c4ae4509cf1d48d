import { describeBus } from '#tests/support/bus-contract.ts';
import { MemoryBus, MemoryBusHub } from '#runtime/bus/memory-bus.ts';

describeBus('in one process', () => {
  const hub = new MemoryBusHub();
  const one = new MemoryBus(hub);
  const two = new MemoryBus(hub);
  return Promise.resolve({
    one,
    two,
    cut: () => Promise.resolve(one.setConnected(false)),
    mend: () => Promise.resolve(one.setConnected(true)),
    close: async () => {
      await one.close();
      await two.close();
    },
  });
});
