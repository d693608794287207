"use strict";

// Everything that comes from alerts is put in as text, never as HTML.
const byId = (id) => document.getElementById(id);
const EVERY = 5000;

function made(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

async function ask(path, body, method) {
  const headers = { "Content-Type": "application/json" };
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  const options = { headers, method: method || (body ? "POST" : "GET") };
  if (body) options.body = JSON.stringify(body);
  const answer = await fetch(path, options);
  byId("login").hidden = answer.status !== 401;
  const said = await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(typeof said === "string" ? said : `the answer was ${answer.status}`);
  return said;
}

function say(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

function doing(work) {
  return async () => {
    try {
      await work();
      say("");
      await refresh();
    } catch (error) {
      say(error.message);
    }
  };
}

function labels(pairs, without = {}) {
  const list = made("ul", { className: "labels" });
  for (const [name, value] of Object.entries(pairs).sort()) {
    if (without[name] !== value) list.append(made("li", { textContent: `${name}=${value}` }));
  }
  return list;
}

const when = (text) => new Date(text).toLocaleString();

function button(text, name, work) {
  return made("button", { type: "button", textContent: text, ariaLabel: `${text}: ${name}`, onclick: work });
}

function causeText(cause) {
  const where = cause.operation ? `${cause.service}, ${cause.operation}` : cause.service;
  if (typeof cause.now !== "number" || typeof cause.before !== "number") return where;
  const said = (number) => (cause.unit === "share" ? `${(number * 100).toFixed(1)} %` : `${number.toPrecision(3)} ms`);
  const what = cause.unit === "share" ? "of its calls fail by themselves" : "of its own a call";
  return `${where}: ${said(cause.now)} ${what}, ${said(cause.before)} before (${Math.round(cause.part * 100)} % of the change)`;
}

function alertCard(alert) {
  const name = alert.labels.alertname;
  const care = alert.acknowledged;
  const card = made("article", { className: alert.status.state === "active" && !care ? "" : "held" });
  if (alert.flapping) card.classList.add("flapping");
  card.append(made("h3", { textContent: name }), labels(alert.labels, { alertname: name }));
  const summary = alert.annotations.summary || alert.annotations.description;
  if (summary) card.append(made("p", { textContent: summary }));
  if (alert.causes) {
    const causes = made("ul", { className: "causes" });
    for (const cause of alert.causes) causes.append(made("li", { textContent: causeText(cause) }));
    card.append(made("details", {}, made("summary", { textContent: "Likely causes" }), causes));
  }
  const lines = [`since ${when(alert.startsAt)}, to ${alert.receivers.map((r) => r.name).join(", ")}`];
  if (alert.status.silencedBy.length) lines.push("silenced");
  if (alert.status.inhibitedBy.length) lines.push("inhibited by another alert");
  if (alert.flapping) lines.push("flaps: told once, and again when it is calm");
  for (const step of alert.escalation || []) lines.push(`${step.told ? "escalated" : "escalates"} to ${step.receiver} at ${when(step.at)}`);
  if (care) lines.push(`${care.care} by ${care.by || "somebody"}${care.until ? ` until ${when(care.until)}` : ""}${care.comment ? `: ${care.comment}` : ""}`);
  card.append(made("p", { textContent: lines.join("; ") }));
  const meant = { alerts: [alert.fingerprint] };
  const actions = made("div", { className: "actions" });
  if (care) {
    actions.append(button("Release", name, doing(() => ask("api/headrace/v1/release", meant))));
  } else {
    actions.append(
      button("Acknowledge", name, doing(() => ask("api/headrace/v1/acknowledge", meant))),
      button("Snooze until resolved", name, doing(() => ask("api/headrace/v1/snooze", meant))),
    );
  }
  if ((alert.escalation || []).some((step) => !step.told)) {
    actions.append(button("Escalate", name, doing(() => ask("api/headrace/v1/escalate", meant))));
  }
  actions.append(button("Silence", name, () => askForSilence(alert)));
  card.append(actions);
  return card;
}

function incidentCard(incident) {
  const root = incident.members[0];
  const card = made("article", { className: incident.status === "open" ? "" : "over" });
  const name = root.labels.alertname || root.fingerprint;
  card.append(
    made("h3", { textContent: `${name}${root.service ? ` of ${root.service}` : ""}` }),
    made("p", { textContent: `${incident.status}, ${incident.firing} of ${incident.total} alerts fire, ${incident.services.length} services, since ${when(incident.startsAt)}` }),
  );
  const more = made("details", {}, made("summary", { textContent: "Members and timeline" }));
  const names = Object.fromEntries(incident.members.map((m) => [m.fingerprint, `${m.labels.alertname || m.fingerprint}${m.service ? ` of ${m.service}` : ""}`]));
  const members = made("ul");
  for (const member of incident.members) members.append(made("li", { textContent: `${names[member.fingerprint]}: ${member.status}` }));
  if (incident.total > incident.members.length) members.append(made("li", { textContent: `and ${incident.total - incident.members.length} more` }));
  const timeline = made("ol");
  for (const line of incident.timeline) timeline.append(made("li", { textContent: `${when(line.at)} ${line.what} ${names[line.alert] || line.alert}` }));
  more.append(members, timeline);
  card.append(more);
  if (incident.status === "open") {
    card.append(made("div", { className: "actions" }, button("Acknowledge all", name, doing(() => ask("api/headrace/v1/acknowledge", { incident: incident.id })))));
  }
  return card;
}

async function askForSilence(alert) {
  const dialog = byId("silence");
  const matchers = Object.entries(alert.labels).map(([name, value]) => ({ name, value, isRegex: false, isEqual: true }));
  byId("matchers").textContent = matchers.map((m) => `${m.name}="${m.value}"`).join(", ");
  byId("preview").textContent = "";
  byId("who").value ||= localStorage.getItem("who") || "";
  dialog.returnValue = "";
  dialog.showModal();
  const query = matchers.map((m) => `filter=${encodeURIComponent(`{${JSON.stringify(m.name)}=${JSON.stringify(m.value)}}`)}`).join("&");
  ask(`api/v2/alerts?${query}`).then((found) => { byId("preview").textContent = `matches ${found.length} that fire now`; }, () => {});
  dialog.onclose = () => {
    if (dialog.returnValue !== "ok") return;
    localStorage.setItem("who", byId("who").value);
    const now = Date.now();
    doing(() => ask("api/v2/silences", {
      matchers,
      startsAt: new Date(now).toISOString(),
      endsAt: new Date(now + byId("for").value * 3600e3).toISOString(),
      createdBy: byId("who").value,
      comment: byId("why").value,
    }))();
  };
}

function silenceCard(silence) {
  const text = silence.matchers.map((m) => `${m.name}${m.isEqual ? "=" : "!"}${m.isRegex ? "~" : m.isEqual ? "" : "="}"${m.value}"`).join(", ");
  return made("article", { className: "held" },
    made("h3", { textContent: text }),
    made("p", { textContent: `${silence.status.state}, until ${when(silence.endsAt)}, by ${silence.createdBy}: ${silence.comment}` }),
    made("div", { className: "actions" }, button("Expire", text, doing(() => ask(`api/v2/silence/${silence.id}`, null, "DELETE")))),
  );
}

function scheduleCard(schedule) {
  const lines = [`${schedule.receivers.join(", ")}${schedule.until ? ` until ${when(schedule.until)}` : ""}`];
  if (schedule.next) lines.push(`then ${schedule.next.receiver} from ${when(schedule.next.startsAt)}`);
  return made("article", {},
    made("h3", { textContent: schedule.name }),
    made("p", { textContent: lines.join("; ") }),
    made("p", {}, made("a", { href: `api/headrace/v1/on-call/${encodeURIComponent(schedule.name)}.ics`, textContent: "calendar" })),
  );
}

function historyLine(record) {
  const names = [...new Set(record.alerts.map((a) => a.labels.alertname))].join(", ");
  return made("li", { textContent: `${when(record.at)} ${record.outcome} (${record.why}) ${record.integration}: ${names || record.groupKey}` });
}

function commandLine(asked) {
  const outcome = asked.outcome ? `: not done, ${asked.outcome}` : "";
  const comment = asked.comment ? ` (${asked.comment})` : "";
  return made("li", { textContent: `${when(asked.at)} ${asked.by || "somebody"}: ${asked.do} ${asked.about}${comment}${outcome}` });
}

function fill(id, items, card, empty) {
  const place = byId(id);
  const open = new Set([...place.querySelectorAll("details[open]")].map((d) => d.parentElement.querySelector("h3").textContent));
  place.replaceChildren(...(items.length ? items.map(card) : [made("p", { className: "empty", textContent: empty })]));
  for (const detail of place.querySelectorAll("details")) detail.open = open.has(detail.parentElement.querySelector("h3").textContent);
}

async function refresh() {
  const filter = byId("filter").value.trim();
  const query = filter ? `?filter=${encodeURIComponent(filter)}` : "";
  const [alerts, silences, incidents, history, noise, schedules, commands] = await Promise.all([
    ask(`api/v2/alerts${query}`), ask("api/v2/silences"), ask("api/headrace/v1/incidents"),
    ask("api/headrace/v1/notifications"), ask("api/headrace/v1/noise"), ask("api/headrace/v1/on-call"),
    ask("api/headrace/v1/commands"),
  ]);
  byId("incidents-section").hidden = !incidents.length;
  fill("incidents", incidents, incidentCard, "");
  fill("alerts", alerts, alertCard, "Nothing fires.");
  byId("on-call-section").hidden = !schedules.length;
  fill("on-call", schedules, scheduleCard, "");
  fill("silences", silences.filter((s) => s.status.state !== "expired"), silenceCard, "There is none.");
  byId("commands-section").hidden = !commands.length;
  fill("commands", commands.slice(0, 20), commandLine, "");
  fill("history", history.slice(0, 50), historyLine, "Nothing yet.");
  byId("noise").textContent = `${noise.events} events, ${noise.notifications} notifications: ${(noise.reduction * 100).toFixed(1)} % less noise`;
}

async function keepFresh() {
  try {
    if (!byId("silence").open && !document.hidden) await refresh();
    say("");
  } catch (error) {
    say(error.message);
  }
}

byId("login").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", byId("token").value);
  keepFresh();
};
byId("filter").onchange = keepFresh;
setInterval(keepFresh, EVERY);
keepFresh();
