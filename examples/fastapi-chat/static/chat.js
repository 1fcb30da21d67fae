"use strict";
// The page of the chat. Texts of people and models are put in as text (`textContent`), never as HTML.

const $ = (id) => document.getElementById(id);
let messages = []; // {role, content, call_id} as the person sees them; the server keeps no conversation
let busy = false;

async function call(method, path, body) {
  const sent = body && { body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const response = await fetch(path, { method, ...sent });
  if (!response.ok) {
    const { detail } = await response.json().catch(() => ({}));
    throw new Error(typeof detail === "string" ? detail : `the server said ${response.status}`);
  }
  return response;
}

// Run what a button is for, and show what goes wrong.
async function attempt(work) {
  $("problem").textContent = "";
  try {
    await work();
  } catch (error) {
    $("problem").textContent = `That did not work: ${error.message}`;
  }
}

function element(tag, text, parent, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  parent.append(made);
  return made;
}

function button(label, title, parent, work) {
  const made = element("button", label, parent);
  made.type = "button";
  made.title = title;
  made.disabled = busy;
  made.addEventListener("click", () => attempt(work));
  return made;
}

function show() {
  $("messages").replaceChildren();
  messages.forEach((message, index) => {
    const box = element("div", "", $("messages"), `message ${message.role}`);
    element("p", message.content, box);
    if (message.role !== "assistant" || !message.call_id) return;
    const buttons = element("div", "", box, "buttons");
    for (const [label, good] of [["Good", true], ["Bad", false]]) {
      const made = button(label, "", buttons, () => thumb(message, good));
      if (message.good === good) made.className = "chosen";
    }
    if (index === messages.length - 1) button("Another", "Ask for another answer", buttons, () => answer(messages.slice(0, -1)));
    button("Edit", "Put it in your words", buttons, () => edit(message, box));
    button("Why?", "Why it looks the way it does", buttons, () => why(message));
  });
}

function path(message) {
  return `answers/${encodeURIComponent(message.call_id)}`;
}

async function thumb(message, good) {
  await call("POST", `${path(message)}/thumb`, { good });
  message.good = good;
  show();
  await known();
}

function edit(message, box) {
  const area = document.createElement("textarea");
  area.value = message.content;
  area.rows = 5;
  box.replaceChildren(area);
  const buttons = element("div", "", box, "buttons");
  button("Save", "", buttons, async () => {
    await call("POST", `${path(message)}/edit`, { text: area.value });
    message.content = area.value;
    show();
    await known();
  });
  button("Cancel", "", buttons, show);
}

async function why(message) {
  const said = await (await call("GET", `${path(message)}/why`)).json();
  $("why").hidden = false;
  $("why").textContent = said.why;
}

// Ask for an answer to a conversation, and show it as it comes. The same conversation again is a wish for another one.
async function answer(asked) {
  const said = { role: "assistant", content: "", call_id: "" };
  busy = true;
  messages = [...asked, said];
  show();
  try {
    const plain = asked.map(({ role, content }) => ({ role, content }));
    const response = await call("POST", "answers", { messages: plain });
    for await (const part of events(response)) {
      said.content += part.text;
      said.call_id = part.call_id || said.call_id;
      $("messages").lastChild.firstChild.textContent = said.content;
    }
    if (!said.call_id) throw new Error("the model broke off");
  } finally {
    if (!said.content.trim()) messages = asked;
    busy = false;
    show();
  }
  await known();
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) yield JSON.parse(part.slice("data: ".length));
  }
}

async function known() {
  const me = await (await call("GET", "me")).json();
  $("login").hidden = true;
  $("chat").hidden = $("known").hidden = false;
  $("name").textContent = me.name;
  $("note").textContent = me.traits.length ? "" : me.note;
  $("traits").replaceChildren();
  for (const trait of me.traits) {
    const item = element("li", trait.statement, $("traits"));
    button("×", "That is not so", item, async () => {
      await call("DELETE", `me/traits?trait=${encodeURIComponent(trait.id)}`);
      await known();
    });
  }
}

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    await call("POST", "login", { name: new FormData(event.target).get("name").trim() });
    await known();
  });
});

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = new FormData(event.target).get("text").trim();
  if (busy || !text) return;
  event.target.reset();
  attempt(() => answer([...messages, { role: "user", content: text }]));
});

$("ask").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});

$("new").addEventListener("click", () => {
  if (busy) return;
  messages = [];
  $("why").hidden = true;
  show();
});

$("forget").addEventListener("click", () => attempt(async () => {
  await call("DELETE", "me");
  messages = [];
  $("why").hidden = true;
  show();
  await known();
}));

known().catch(() => {}); // still logged in?
