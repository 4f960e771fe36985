"use strict";

// Reads the stream with fetch, because EventSource cannot send a token. It reconnects as
// EventSource does: after the last whole event, and after the delay that the server asks for.

const show = (id, text) => { document.getElementById(id).textContent = text; };
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// events yields the events of a response.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop(); // not complete
    for (const part of parts) {
      const event = { event: "message" };
      for (const line of part.split("\n")) {
        const [, field, value] = line.match(/^([^:]*):? ?(.*)$/);
        event[field] = value;
      }
      yield event;
    }
  }
}

async function watch(token) {
  const headers = { Accept: "text/event-stream", Authorization: "Bearer " + token };
  for (let delay = 1000; ; await pause(delay)) {
    try {
      const response = await fetch("/v1/orders/events", { headers, cache: "no-store" });
      if (!response.ok) {
        const problem = await response.json();
        show("state", problem.message);
        if (problem.error === "position_lost") { // the service was restarted: begin anew
          delete headers["Last-Event-ID"];
          continue;
        }
        if (response.status < 500 && response.status !== 429) return;
        continue;
      }
      show("state", "Connected");
      for await (const event of events(response)) {
        if (event.id) headers["Last-Event-ID"] = event.id;
        if (event.retry) delay = Number(event.retry);
        if (event.event === "message") {
          const { order } = JSON.parse(event.data);
          const item = document.createElement("li");
          item.textContent = `${order.quantity} ${order.product}: ${order.status}`;
          document.getElementById("changes").append(item);
        } else if (event.event === "error") {
          show("state", JSON.parse(event.data).message);
        } else if (event.event === "end") {
          return;
        }
      }
    } catch {
      show("state", "Connection lost");
    }
  }
}

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  watch(document.getElementById("token").value);
});
document.querySelector("button").disabled = false;
