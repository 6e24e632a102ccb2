// Starts GraphiQL. Queries and mutations go by POST, subscriptions by server-sent events, all to the page's own address.
(function () {
  const endpoint = new URL(document.currentScript.dataset.document, location.href).href;

  // The editor's own syntax tree lags behind what is typed, so the text itself is looked at: what stands before each
  // outermost brace, without comments and strings.
  function isSubscription(params) {
    const text = params.query.replace(/"""[^]*?"""|"(?:\\.|[^"\\\n])*"|#.*/g, "");
    const heads = [];
    let depth = 0;
    let head = "";
    for (const character of text) {
      if (character === "{" && depth++ === 0) heads.push(head.trim());
      else if (character === "}" && --depth === 0) head = "";
      else if (depth === 0) head += character;
    }
    const operations = heads.filter((each) => !each.startsWith("fragment"));
    const named = operations.find((each) => each.split(/[\s({@]+/)[1] === params.operationName);
    return ((params.operationName && named) || operations[0] || "").startsWith("subscription");
  }

  function post(params, options, accept, signal) {
    return fetch(endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: accept, ...(options && options.headers) },
      body: JSON.stringify(params),
      signal,
    });
  }

  async function* subscribe(params, options) {
    const leaving = new AbortController();
    try {
      const answer = await post(params, options, "text/event-stream", leaving.signal);
      if (!(answer.headers.get("Content-Type") || "").startsWith("text/event-stream")) {
        yield await answer.json();
        return;
      }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        text += value;
        let end;
        while ((end = text.indexOf("\n\n")) >= 0) {
          const lines = text.slice(0, end).split("\n");
          text = text.slice(end + 2);
          const name = lines.find((line) => line.startsWith("event: "));
          if (name === "event: complete") return;
          const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
          if (data) yield JSON.parse(data);
        }
      }
    } finally {
      leaving.abort();
    }
  }

  function fetcher(params, options) {
    if (isSubscription(params)) return subscribe(params, options);
    return post(params, options, "application/graphql-response+json, application/json").then((answer) => answer.json());
  }

  const page = document.getElementById("page");
  page.style.height = "100vh";
  ReactDOM.createRoot(page).render(React.createElement(GraphiQL, { fetcher }));
})();
