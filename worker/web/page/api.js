// Asking the server. Every failure is an ApiError whose message can be shown.

const TIMEOUT_MS = 10000;

export class ApiError extends Error {
  constructor(message, { status = 0, kind = "unreachable", position = null } = {}) {
    super(message);
    Object.assign(this, { status, kind, position });
  }

  // The question was right; there is nobody to answer it now, or too many ask.
  get passing() {
    return [0, 429, 503].includes(this.status);
  }
}

function address(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value != null && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError("The server does not answer.");
  }
  let body = null;
  try {
    body = answer.status === 204 ? {} : await answer.json();
  } catch {
    throw new ApiError("The server's answer is cut short.");
  }
  if (answer.ok) return body.data;
  throw new ApiError(body.error ?? `The server answers ${answer.status}.`, {
    status: answer.status, kind: body.errorType, position: body.position,
  });
}

export const link = address;

export const get = (path, parameters = {}) => ask(address(path, parameters), {});

export function send(method, path, body, token) {
  const headers = { Authorization: `Bearer ${token}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return ask(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
}
