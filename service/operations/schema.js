// The page at /schema: lists what openapi.json describes, and sends requests to try it.
"use strict";

let openapi;
// The programme's clock, which may be ahead of this machine's in development.
let now = new Date();

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function resolved(schema) {
  const name = schema.$ref && schema.$ref.split("/").pop();
  return name ? openapi.components.schemas[name] : schema;
}

// The document's example at the programme's time, so that it is not too late to be tried.
function example({ example: shown = {} }) {
  return JSON.stringify(shown, null, 2).replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, now.toISOString());
}

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `list of ${typeOf(schema.items || {})}`;
  return schema.format || schema.type || "anything";
}

function fieldsTable(schema) {
  const found = resolved(schema);
  if (!found.properties) return null;
  const required = new Set(found.required || []);
  const rows = Object.entries(found.properties).map(([name, inner]) => element("tr", {},
    element("td", {}, element("code", { textContent: name + (required.has(name) ? "" : "?") })),
    element("td", { textContent: typeOf(inner) }),
    element("td", { textContent: inner.description || "" })));
  return element("table", {}, ...rows);
}

function responsesTable(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => element("tr", {},
    element("td", {}, element("code", { textContent: status })),
    element("td", { textContent: response.description })));
  return element("table", {}, ...rows);
}

function inputs(operation) {
  return (operation.parameters || []).map((parameter) => {
    const hint = `${parameter.in}${parameter.required ? "" : ", optional"}: ${typeOf(parameter.schema)}`;
    const input = element("input", { name: parameter.name, placeholder: hint, autocomplete: "off" });
    input.dataset.place = parameter.in;
    return element("label", { textContent: parameter.name }, input);
  });
}

function requestOf(path, form) {
  const query = new URLSearchParams();
  const headers = {};
  let address = path;
  for (const input of form.querySelectorAll("input")) {
    const { name, value, dataset } = input;
    if (dataset.place === "path") address = address.replace(`{${name}}`, encodeURIComponent(value));
    else if (value && dataset.place === "query") query.set(name, value);
    else if (value) headers[name] = value;
  }
  const token = document.getElementById("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  return { address: query.size ? `${address}?${query}` : address, headers };
}

function tryForm(path, method, operation) {
  const body = operation.requestBody
    ? element("textarea", { spellcheck: false, value: example(operation.requestBody.content["application/json"]) })
    : null;
  const shown = element("pre", { hidden: true });
  const form = element("form", {}, ...inputs(operation), body, element("button", { textContent: "Send" }), shown);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { address, headers } = requestOf(path, form);
    if (body) headers["Content-Type"] = "application/json";
    shown.hidden = false;
    try {
      const answer = await fetch(address, { method: method.toUpperCase(), headers, body: body && body.value });
      const text = await answer.text();
      let pretty = text;
      try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
      shown.textContent = `${answer.status} ${answer.statusText}\n\n${pretty}`;
    } catch (error) {
      shown.textContent = String(error);
    }
  });
  return form;
}

function operationDetails(path, method, operation) {
  const details = element("details", {}, element("summary", {},
    element("span", { className: "method", textContent: method.toUpperCase() }),
    element("span", { className: "path", textContent: path }), " ",
    element("span", { className: "what", textContent: operation.summary })));
  details.dataset.text = `${path} ${operation.operationId} ${operation.summary}`.toLowerCase();
  // Filled when it is opened first: the document has more than a page needs at once.
  details.addEventListener("toggle", () => {
    const access = (operation.security || []).map((entry) => Object.entries(entry)
      .map(([name, scopes]) => [name, ...scopes].join(" ")).join()).join() || "public";
    const body = operation.requestBody && operation.requestBody.content["application/json"].schema;
    details.append(
      element("p", { textContent: operation.description || "" }),
      element("p", { textContent: `Access: ${access}` }),
      ...(body ? [element("h4", { textContent: "Body" }), fieldsTable(body) || ""] : []),
      element("h4", { textContent: "Answers" }), responsesTable(operation),
      element("h4", { textContent: "Try it" }), tryForm(path, method, operation));
  }, { once: true });
  return details;
}

function show() {
  const sections = new Map(openapi.tags.map(({ name, description }) => [name,
    [element("h2", { textContent: name }), element("p", { textContent: description })]]));
  for (const [path, methods] of Object.entries(openapi.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      sections.get(operation.tags[0]).push(operationDetails(path, method, operation));
    }
  }
  document.getElementById("about").textContent = openapi.info.description;
  document.getElementById("operations").replaceChildren(
    ...[...sections.values()].map((children) => element("section", {}, ...children)));
}

document.getElementById("find").addEventListener("input", ({ target }) => {
  const wanted = target.value.toLowerCase();
  for (const details of document.querySelectorAll("#operations details")) {
    details.hidden = !details.dataset.text.includes(wanted);
  }
});

async function load() {
  openapi = await (await fetch("/schema/openapi.json")).json();
  const clock = await fetch("/v1/program");
  if (clock.ok) now = new Date((await clock.json()).now);
  show();
}

load();
