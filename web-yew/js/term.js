// The line between the console and xterm.js, which is loaded when the first terminal is opened and not before.

let loading = null;
const open_terminals = new Set();
let newest = null;

function load() {
  loading ??= Promise.all([
    import("/vendor/xterm/xterm.mjs"),
    import("/vendor/xterm/addon-fit.mjs"),
    new Promise((resolve, reject) => {
      const link = document.createElement("link");
      link.rel = "stylesheet";
      link.href = "/vendor/xterm/xterm.css";
      link.onload = resolve;
      link.onerror = () => reject(new Error("xterm.css was not loaded"));
      document.head.append(link);
    }),
  ]).catch((error) => {
    // The next try loads again.
    loading = null;
    throw error;
  });
  return loading;
}

// Always dark: what runs inside draws for a dark terminal.
const theme = {
  background: "#0f1115", foreground: "#d7dae0", cursor: "#f0795a", cursorAccent: "#0f1115", selectionBackground: "#3a4358",
  black: "#1b1e25", red: "#f07178", green: "#8fc77f", yellow: "#e6b566", blue: "#6fa8f0", magenta: "#c792ea", cyan: "#6cc7cf", white: "#d7dae0",
  brightBlack: "#6b7280", brightRed: "#ff8f95", brightGreen: "#a9dd9a", brightYellow: "#f5cb85", brightBlue: "#8fbfff",
  brightMagenta: "#dcb0ff", brightCyan: "#8be0e7", brightWhite: "#ffffff",
};

// Two frames, so that the fonts' and the layout's last word is in.
const settled = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));

export async function open(node, on_data, on_resize) {
  const [{ Terminal }, { FitAddon }] = await load();
  await settled();
  if (!node.isConnected) throw new Error("closed meanwhile");
  const terminal = new Terminal({
    cursorBlink: true, fontSize: 13, lineHeight: 1.2, scrollback: 5000, theme, allowProposedApi: false,
    fontFamily: "ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace",
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(node);
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey) return true;
    if (event.code === "KeyC") {
      if (terminal.hasSelection()) document.execCommand("copy");
      event.preventDefault();
      return false;
    }
    // Tab belongs to the guest, so there has to be another way out for the keyboard.
    if (event.code === "ArrowUp") {
      document.querySelector("[data-terminal-exit]")?.focus();
      event.preventDefault();
      return false;
    }
    // The browser pastes; xterm hears of it by the paste event.
    return event.code !== "KeyV";
  });
  terminal.onData(on_data);
  terminal.onResize(({ cols, rows }) => on_resize(cols, rows));
  const refit = () => {
    // A hidden tab has no size to fit to.
    if (node.clientWidth > 0 && node.clientHeight > 0) fit.fit();
  };
  const observer = new ResizeObserver(refit);
  observer.observe(node);
  refit();
  const handle = { terminal, observer, node };
  open_terminals.add(handle);
  newest = handle;
  on_resize(terminal.cols, terminal.rows);
  return handle;
}

export function write(handle, bytes) {
  // A copy: what is handed over is a view into the console's own memory, and xterm reads it later.
  handle.terminal.write(bytes.slice());
}

export function say(handle, line) {
  handle.terminal.write(`\r\n\x1b[90m${line}\x1b[0m\r\n`);
}

export function focus(handle) {
  newest = handle;
  handle.terminal.focus();
}

export function dispose(handle) {
  open_terminals.delete(handle);
  if (newest === handle) newest = [...open_terminals].at(-1) ?? null;
  handle.observer.disconnect();
  handle.terminal.dispose();
}

// For tests: what is in the visible terminal's buffer, scrolled-off lines too.
window.hearthTerminalText = () => {
  const handle = [...open_terminals].find(({ node }) => node.clientWidth > 0) ?? newest;
  if (!handle) return "";
  const buffer = handle.terminal.buffer.active;
  const lines = [];
  for (let at = 0; at < buffer.length; at += 1) {
    const line = buffer.getLine(at);
    const text = line?.translateToString(true) ?? "";
    if (line?.isWrapped && lines.length > 0) lines[lines.length - 1] += text;
    else lines.push(text);
  }
  return lines.join("\n").trimEnd();
};
