// Starts the console. Trunk writes the names of the two files, which carry a hash, into the script element's attributes.
const { js, wasm } = document.querySelector("script[data-wasm]").dataset;
try {
  const module = await import(js);
  await module.default({ module_or_path: wasm });
} catch (error) {
  const app = document.getElementById("app");
  app.textContent = "";
  const line = document.createElement("p");
  line.className = "boot";
  line.setAttribute("role", "alert");
  line.textContent = `The console did not start: ${error}. Reload the page; if it stays, the browser may be too old for WebAssembly.`;
  app.append(line);
  throw error;
}
