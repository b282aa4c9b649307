// Draws the figures of the page. Drawn again with new data, a figure keeps its zoom.
const modeBarButtons = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
const config = {responsive: true, displaylogo: false, modeBarButtons};
const draw = () => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  for (const [id, {data, layout}] of Object.entries(figures))
    Plotly.react(id, data, {...layout, uirevision: "kept"}, config);
};
draw();
