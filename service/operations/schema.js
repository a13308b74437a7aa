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

// An example of a schema: enough to begin with, not every possibility.
function example(schema, depth = 0) {
  const found = resolved(schema);
  if (depth > 6) return null;
  if (found.examples) return found.examples[0];
  if (found.default !== undefined && found.default !== null) return found.default;
  if (found.enum) return found.enum[0];
  const choices = (found.anyOf || found.oneOf || []).filter((choice) => choice.type !== "null");
  if (choices.length) return example(choices[0], depth + 1);
  switch (found.type) {
    case "object": {
      // What may be left out is left out, unless somebody said what it looks like.
      const required = new Set(found.required || []);
      const entries = Object.entries(found.properties || {})
        .filter(([name, inner]) => required.has(name) || inner.examples);
      return Object.fromEntries(entries.map(([name, inner]) => [name, example(inner, depth + 1)]));
    }
    case "array": return found.minItems && found.items ? [example(found.items, depth + 1)] : [];
    case "integer": case "number": return found.minimum ?? 0;
    case "boolean": return false;
    case "string":
      if (found.format === "date-time") return now.toISOString();
      if (found.format === "uuid") return "00000000-0000-0000-0000-000000000000";
      return found.minLength ? "text" : "";
    default: return null;
  }
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
    ? element("textarea", { spellcheck: false, value: JSON.stringify(
      example(operation.requestBody.content["application/json"].schema), null, 2) })
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
  const sections = new Map(openapi.tags.map(({ name }) => [name, [element("h2", { textContent: name })]]));
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
