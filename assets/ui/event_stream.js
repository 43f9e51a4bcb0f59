// Stands between the server's stream of events and Gradio's client, which mistakes its end, its order and its updates
// (Gradio 6.31).
//
// The server ends a session's stream when no event is waiting any more. A client that has sent a new event by then, but
// has not read the end yet, believes that its stream is open and waits for ever, or takes the end for a broken
// connection: a run begun right after Stop would stay at "Starting". So the end is kept from the client, and the server
// is asked for a new stream whenever an event is waiting and none is open.
//
// A client that cancels an event goes on before it has read what the server had sent of it by then, and draws that over
// what follows. So the server's answer is kept back until the event's end has been handed on.
//
// Updates of one event come as changes, which the client makes in place, also in updates that it has not drawn yet. Of
// those that come at once, as they do to a busy browser, only what the last one says would be seen: pictures stayed
// away. So every update is handed on whole.
(() => {
  const PATIENCE_MS = 5000; // with a server that does not tell a cancelled event's end
  const plainFetch = window.fetch.bind(window);
  const encoder = new TextEncoder();
  const waiting = new Set(); // events that were sent and have not been completed
  const early = new Set(); // events whose completion came before the answer to their sending
  const cancelled = new Map(); // event → what to call when its end has been handed on
  const outputs = new Map(); // event → its outputs as of its last update
  let stream = null; // { request, controller, connected }, as the client has it

  window.fetch = async (input, init) => {
    const path = new URL(input.url ?? input, location.href).pathname;
    if (path.endsWith("/queue/data")) return opened(new Request(input, init));
    const ended = path.endsWith("/cancel") && end(JSON.parse(init.body).event_id);
    const answer = await plainFetch(input, init);
    if (path.endsWith("/queue/join") && answer.ok) sent((await answer.clone().json()).event_id);
    if (ended && answer.ok) await ended;
    return answer;
  };

  async function opened(request) {
    const answer = await plainFetch(request.clone());
    if (!answer.ok) return answer;
    const body = new ReadableStream({
      start(controller) {
        stream = { request, controller, connected: true };
        follow(stream, answer);
      },
    });
    return new Response(body, { status: answer.status, headers: answer.headers });
  }

  function sent(event) {
    if (early.delete(event)) return;
    waiting.add(event);
    if (stream && !stream.connected) connect(stream);
  }

  function end(event) {
    if (!waiting.has(event)) return null;
    return new Promise((resolve) => {
      cancelled.set(event, resolve);
      setTimeout(resolve, PATIENCE_MS);
    });
  }

  async function connect(stream) {
    stream.connected = true;
    try {
      const answer = await plainFetch(stream.request.clone());
      if (!answer.ok) throw new Error(`The stream of events answers with ${answer.status}`);
      await follow(stream, answer);
    } catch (error) {
      broken(stream, error);
    }
  }

  // Hand on what the server sends until it ends this connection.
  async function follow(stream, answer) {
    let ended = false;
    let rest = "";
    try {
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const texts = (rest + part.value).split("\n\n");
        rest = texts.pop();
        for (const text of texts) {
          const message = JSON.parse(text.slice("data:".length));
          if (message.msg === "close_stream") ended = true;
          else stream.controller.enqueue(encoder.encode(`data: ${JSON.stringify(handed(message))}\n\n`));
          if (message.msg === "process_completed") completed(message.event_id);
        }
      }
      if (!ended) throw new Error("The stream of events broke off");
    } catch (error) {
      return broken(stream, error);
    }
    stream.connected = false;
    if (waiting.size) connect(stream);
  }

  // The client tells those who wait, and opens another stream with its next event.
  function broken(broke, error) {
    if (stream === broke) stream = null;
    for (const resolve of cancelled.values()) resolve();
    cancelled.clear();
    broke.controller.error(error);
  }

  function completed(event) {
    outputs.delete(event);
    if (!waiting.delete(event)) early.add(event);
    cancelled.get(event)?.();
    cancelled.delete(event);
  }

  function handed(message) {
    const event = message.event_id;
    if (message.msg !== "process_generating" || !message.output?.data) return message;
    const changes = message.output.data;
    const before = outputs.get(event);
    if (!before) {
      outputs.set(event, changes); // the first update is whole
      return message;
    }
    const now = changes.map((steps, place) => (steps.length ? changed(before[place], steps) : before[place]));
    outputs.set(event, now);
    const data = changes.map((steps, place) => (steps.length ? [["replace", [], now[place]]] : []));
    return { ...message, output: { ...message.output, data } };
  }

  // A copy of a value after steps of Gradio's: [action, path, content].
  function changed(value, steps) {
    const whole = { value: structuredClone(value) };
    for (const [action, path, content] of steps) {
      const places = ["value", ...path];
      const last = places.pop();
      const holder = places.reduce((found, place) => found[place], whole);
      if (action === "append") holder[last] += content;
      else if (action === "delete" && Array.isArray(holder)) holder.splice(Number(last), 1);
      else if (action === "delete") delete holder[last];
      else if (action === "add" && Array.isArray(holder)) holder.splice(Number(last), 0, content);
      else holder[last] = content;
    }
    return whole.value;
  }
})();
