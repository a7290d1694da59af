// The routes that test_spellings asks for: in Express, which ignores case, and by
// hand on what the URL class makes of the address, as it is and decoded.
const express = require("express");
const http = require("http");

const ROUTES = [
  ["features", /^\/api\/features(\/.*)?$/, ["POST"]],
  ["export", /^\/api\/export$/],
  ["reports", /^\/users\/[^/]+\/reports$/, ["GET", "HEAD"]],
  ["all", /^\/api(\/.*)?$/, ["POST"]],
];

const answer = (name) => (req, res) => {
  if (req.method !== "OPTIONS") res.setHeader("x-handler", name);
  res.end();
};

const app = express();
app.post(["/api/features", /^\/api\/features\/.*/i], answer("features"));
app.all("/api/export", answer("export"));
app.get("/users/:id/reports", answer("reports"));
app.post(["/api", /^\/api\/.*/i], answer("all"));
app.use((req, res) => res.status(404).end());
app.use((err, req, res, next) => res.status(err.status || 500).end());

const byHand = (read) => (req, res) => {
  let path;
  try {
    path = read(new URL(req.url, "http://app").pathname).replace(/(.)\/$/, "$1");
  } catch {
    res.statusCode = 400;
    return res.end();
  }
  const route = ROUTES.find(([, pattern, methods]) => pattern.test(path) && (!methods || methods.includes(req.method)));
  if (route) return answer(route[0])(req, res);
  res.statusCode = 404;
  res.end();
};

for (const [name, handler] of Object.entries({ express: app, url: byHand((path) => path), decoded: byHand(decodeURIComponent) })) {
  const server = http.createServer(handler);
  server.listen(0, "127.0.0.1", () => console.log(`${name} http://127.0.0.1:${server.address().port}`));
}
