"use strict";
// Everything is put into the page as text, never as HTML.

const $ = (id) => document.getElementById(id);
const storedKey = "tidegate-key";

function el(tag, props, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props || {})) {
    if (k === "class") e.className = v;
    else e.setAttribute(k, v);
  }
  e.append(...children.map((c) => (c instanceof Node ? c : document.createTextNode(String(c ?? "")))));
  return e;
}

async function get(path) {
  const key = sessionStorage.getItem(storedKey);
  const res = await fetch(path, { headers: key ? { Authorization: "Bearer " + key } : {} });
  if (res.status === 401 || res.status === 403) $("keyform").hidden = false;
  const body = await res.json().catch(() => ({}));
  if (!res.ok) throw new Error(body.detail || res.statusText);
  return body;
}

function fail(err) {
  $("error").textContent = err ? err.message : "";
  $("error").hidden = !err;
}

const limitText = (v) => (v === null || v === undefined ? "unlimited" : String(v));
const when = (t) => (t ? new Date(t).toLocaleString() : "–");

function gateRow(g) {
  const meter = g.aggregate === "count" ? g.event : `${g.aggregate} of ${g.value} in ${g.event}`;
  const state = g.off ? el("span", { class: "pill bad" }, "off: allows all")
    : g.shadow ? el("span", { class: "pill warn" }, "shadow")
    : el("span", { class: "pill good" }, "on");
  return el("tr", {}, el("td", {}, g.feature), el("td", {}, meter),
    el("td", {}, g.endpoint ? `${g.method || "any"} ${g.endpoint}` : "–"),
    el("td", {}, g.in_plan ? limitText(g.limit) : "not in plan"),
    el("td", {}, `${g.period}, ${g.window}`), el("td", {}, state));
}

async function showGates() {
  const body = await get("/v1/gates");
  const rows = (body.gates || []).map(gateRow);
  $("gates").replaceChildren(...(rows.length ? rows : [el("tr", {}, el("td", { colspan: 6 }, "No gates are configured."))]));
}

function usageRow(u) {
  const used = Number(u.used), limit = u.limit === null ? null : Number(u.limit);
  const bar = limit ? el("progress", { max: limit, value: Math.min(used, limit) }) : "";
  return el("tr", {}, el("td", {}, u.feature), el("td", {}, bar, ` ${u.used} of ${limitText(u.limit)}`),
    el("td", {}, u.window_end ? `until ${when(u.window_end)}` : "rolling"));
}

function decisionRow(d) {
  const kind = !d.allowed ? "bad" : d.reason === "near_limit" || d.would_block ? "warn" : "good";
  const state = el("span", { class: "pill " + kind }, d.allowed ? "allowed" : "blocked");
  return el("tr", {}, el("td", {}, d.feature), el("td", {}, state, " ", d.reason),
    el("td", {}, d.unblocks_at ? `unblocks ${when(d.unblocks_at)}` : ""));
}

async function lookUp(id) {
  const c = await get("/v1/customers/" + encodeURIComponent(id));
  $("result").replaceChildren(
    el("p", {}, el("b", {}, c.customer), ` plan ${c.plan} `, el("span", { class: "soft" }, c.email || "no mail address")),
    el("table", {}, el("tbody", {}, ...c.usage.map(usageRow))),
    el("table", {}, el("tbody", {}, ...c.decisions.map(decisionRow))));
}

async function showFunnel() {
  const f = await get("/v1/funnel");
  const steps = ["reached", "mailed", "delivered", "clicked", "converted"]
    .map((k) => el("div", { class: "step" }, el("b", {}, f[k] ?? 0), k));
  if (f.median_seconds_to_convert) {
    steps.push(el("div", { class: "step" }, el("b", {}, (f.median_seconds_to_convert / 3600).toFixed(1) + " h"), "median to convert"));
  }
  for (const [currency, amount] of Object.entries(f.amounts || {})) {
    steps.push(el("div", { class: "step" }, el("b", {}, amount), `${currency}, smallest unit`));
  }
  $("funnel").replaceChildren(...steps);
}

async function showReady() {
  const res = await fetch("/readyz");
  const body = await res.json().catch(() => ({}));
  $("ready").className = "pill " + (res.ok ? "good" : "bad");
  $("ready").textContent = res.ok ? "ready" : body.detail || "not ready";
}

async function refresh() {
  fail(null);
  showReady().catch(fail);
  showGates().catch(fail);
  showFunnel().catch((err) => { $("funnel").textContent = err.message; });
}

$("lookup").addEventListener("submit", (ev) => {
  ev.preventDefault();
  fail(null);
  lookUp($("customer").value).catch((err) => { $("result").replaceChildren(); fail(err); });
});
$("keyform").addEventListener("submit", (ev) => {
  ev.preventDefault();
  sessionStorage.setItem(storedKey, $("key").value);
  $("keyform").hidden = true;
  refresh();
});
refresh();

// A link to a customer: /?customer=acme
const asked = new URLSearchParams(location.search).get("customer");
if (asked) {
  $("customer").value = asked;
  lookUp(asked).catch(fail);
}
