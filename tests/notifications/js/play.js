/** Plays one scenario of tests/scenarios against the JavaScript client; returns what came of each step. */
async ({ steps, module }) => {
  const { NetraClient } = await import(module);

  let now = 0;
  let timers = [];
  const settle = async () => {
    for (let turn = 0; turn < 10; turn += 1) await null;
  };
  const clock = {
    now: () => now,
    setTimeout: (call, ms) => {
      const timer = { at: now + ms, call };
      timers.push(timer);
      return timer;
    },
    clearTimeout: (timer) => (timers = timers.filter((each) => each !== timer)),
  };
  const advance = async (seconds, until = () => false) => {
    const end = now + seconds * 1000;
    for (;;) {
      const next = timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next || until()) break;
      timers = timers.filter((timer) => timer !== next);
      now = next.at;
      next.call();
      await settle();
    }
    if (!until()) now = end;
  };

  const sockets = [];
  let sends = [];
  let lastResume = null;
  class FakeSocket {
    constructor() {
      sockets.push(this);
    }
    send(text) {
      const frame = JSON.parse(text);
      if (frame.type === "resume") lastResume = frame.id;
      if (frame.type === "ping") this.receive({ type: "pong", id: frame.id }, !silent);
      else sends.push(frame);
    }
    receive(frame, arrives = true) {
      if (arrives) this.onmessage?.({ data: JSON.stringify(frame) });
    }
    close() {}
  }

  let accepts = [];
  let answers = [];
  let silent = false;
  const client = new NetraClient({ url: "ws://netra.test/ws/", WebSocket: FakeSocket, clock, random: () => 0.5 });
  client.onEvent((event) =>
    accepts.push([event.run_id, event.type === "gap" ? `gap ${event.missed_from}-${event.missed_to}` : event.seq]),
  );
  const answer = (key, promise) =>
    promise.then(
      (frame) => answers.push([key, frame.type]),
      (error) => answers.push([key, error.code]),
    );
  const socket = () => sockets.at(-1);

  const act = {
    open: () => client.open(),
    receive: (frame) => socket().receive(frame.id === "$last_resume" ? { ...frame, id: lastResume } : frame),
    receive_text: (text) => socket().onmessage({ data: text }),
    receive_events: ({ run_id, from, to }) => {
      for (let seq = from; seq <= to; seq += 1) {
        socket().receive({ type: "agent_thinking", run_id, seq, timestamp: "2026-11-21T09:00:00Z", data: {} });
      }
      accepts = accepts.filter(([run, seq]) => run !== run_id || seq < from || seq > to);
    },
    start: ({ request_id, ...start }) => void answer(request_id, client.startAgent({ requestId: request_id, ...start })),
    cancel: (runId) => void answer(runId, client.cancelRun(runId)),
    resolve: ({ run_id, approval_id, ...answer_ }) =>
      void answer(approval_id, client.resolveApproval({ runId: run_id, approvalId: approval_id, ...answer_ })),
    follow: (runIds) => client.follow(runIds),
    close: (code) => socket().onclose({ code }),
    advance: (seconds) => advance(seconds),
    silence: async (seconds) => {
      silent = true;
      const attempts = sockets.length;
      await advance(seconds, () => client.connection.state === "offline" || sockets.length > attempts);
      silent = false;
    },
    reconnects_within: async (seconds) => {
      const attempts = sockets.length;
      await advance(seconds, () => sockets.length > attempts);
      if (sockets.length !== attempts + 1) throw new Error(`no new attempt within ${seconds} s`);
    },
    stays_away: async (seconds) => {
      const attempts = sockets.length;
      await advance(seconds);
      if (sockets.length !== attempts) throw new Error(`a new attempt within ${seconds} s`);
    },
  };

  const results = [];
  for (const step of steps) {
    const [name] = Object.keys(step).filter((key) => key in act);
    await act[name](step[name]);
    await settle();
    const { state, ended } = client.connection;
    results.push({ accepts, sends, answers, state, ended });
    accepts = [];
    sends = [];
    answers = [];
  }
  client.close();
  return results;
};
