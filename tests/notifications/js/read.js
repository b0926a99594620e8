/**
 * Reads run_a through streams. In `play` a number is its event with that seq (`last` is its agent_completed) and
 * {after} opens a stream. Returns what each stream has read, what the client's listener has heard, and the run's
 * cursor in each resume.
 */
async ({ module, head = 0, last, play }) => {
  const { NetraClient } = await import(module);
  const sockets = [];
  class FakeSocket {
    constructor() {
      sockets.push(this);
      this.sent = [];
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    receive(frame) {
      this.onmessage({ data: JSON.stringify(frame) });
    }
    close() {}
  }
  const settle = async () => {
    for (let turn = 0; turn < 100; turn += 1) await null;
  };

  const client = new NetraClient({ url: "ws://netra.test/ws/", WebSocket: FakeSocket }).open();
  const heard = [];
  client.onEvent((event) => heard.push(event.seq));
  await settle();
  const [socket] = sockets;
  const runs = head ? [{ run_id: "run_a", thread_id: "thread_a", last_seq: head }] : [];
  socket.receive({ type: "connection_established", server_time: "2026-11-21T09:00:00Z", runs });

  const read = [];
  const open = async (after) => {
    const seqs = [];
    read.push(seqs);
    for await (const event of client.events("run_a", { after })) seqs.push(event.seq);
    seqs.push("end");
  };
  for (const step of play) {
    if (typeof step === "number") {
      const type = step === last ? "agent_completed" : "agent_thinking";
      socket.receive({ type, run_id: "run_a", seq: step, timestamp: "2026-11-21T09:00:00Z", data: {} });
    } else {
      open(step.after).catch(() => {}); // one that still waits at the end is closed with the client
    }
    await settle();
  }
  const asked = socket.sent.filter((frame) => frame.type === "resume").map((frame) => frame.cursors.run_a);
  const result = structuredClone({ read, heard, asked });
  client.close();
  return result;
};
