const main = document.querySelector("main")
const nav = document.querySelector("nav")

async function show() {
  const name = location.pathname.split("/")[2]
  if (!name) { main.textContent = "Choose a city"; return }
  const response = await fetch(`/api/cities/${name}`)
  const city = await response.json()
  main.textContent = response.ok ? `${city.name}: ${city.size}` : city.code
}

for (const name of await (await fetch("/api/cities")).json()) {
  const link = document.createElement("a")
  link.href = `/cities/${name}`
  link.textContent = name + " "
  link.onclick = event => { event.preventDefault(); history.pushState(null, "", link.href); show() }
  nav.append(link)
}
addEventListener("popstate", show)
show()
