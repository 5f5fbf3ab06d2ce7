// Every path of the API needs the token, the document too: it is asked for once and kept for this tab.
window.onload = function () {
  const KEY = "hearth.swagger.token";
  let token = sessionStorage.getItem(KEY);
  if (!token) {
    token = (window.prompt("The admin's token (admin.token in the data directory):") || "").trim();
    if (token) sessionStorage.setItem(KEY, token);
  }
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#swagger-ui",
    deepLinking: true,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    plugins: [SwaggerUIBundle.plugins.DownloadUrl],
    layout: "StandaloneLayout",
    requestInterceptor: function (request) {
      if (token) request.headers["Authorization"] = "Bearer " + token;
      return request;
    },
    responseInterceptor: function (response) {
      if (response.status === 401) sessionStorage.removeItem(KEY);
      return response;
    },
  });
};
