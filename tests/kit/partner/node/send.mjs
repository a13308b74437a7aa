// Sends what a partner in Node would send, with the public clients as the registry gives them.
//   node send.mjs cloudevent|batch|plain   with URL, SECRET, TYPE, SOURCE, SUBJECT, ID, DATA, TIME
import { CloudEvent, HTTP } from "cloudevents";
import { Webhook } from "standardwebhooks";

const { URL: url, SECRET, TYPE, SOURCE, SUBJECT, ID, DATA, TIME } = process.env;

function event(id) {
  return new CloudEvent({
    id,
    source: SOURCE,
    type: TYPE,
    subject: SUBJECT,
    time: TIME,
    data: JSON.parse(DATA),
  });
}

function message(how) {
  if (how === "cloudevent") {
    const { headers, body } = HTTP.structured(event(ID));
    return { contentType: headers["content-type"], body };
  }
  if (how === "batch") {
    const events = [event(`${ID}-1`), event(`${ID}-2`)];
    return {
      contentType: "application/cloudevents-batch+json",
      body: JSON.stringify(events),
    };
  }
  const body = { type: TYPE, timestamp: TIME, data: { subject: SUBJECT, ...JSON.parse(DATA) } };
  return { contentType: "application/json", body: JSON.stringify(body) };
}

const { contentType, body } = message(process.argv[2]);
const now = new Date();
const response = await fetch(url, {
  method: "POST",
  headers: {
    "content-type": contentType,
    "webhook-id": ID,
    "webhook-timestamp": String(Math.floor(now / 1000)),
    "webhook-signature": new Webhook(SECRET).sign(ID, now, body),
  },
  body,
});
console.log(JSON.stringify({ status: response.status, answer: await response.json() }));
