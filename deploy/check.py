"""Checks deploy/ against the schemas it is written for, and its files against each other.

Kubernetes, compose, Envoy and the container file each have a checker made by others (scripts/deploy-deps installs them);
each is first shown to refuse a mistake. What the files must agree on among themselves is checked here; that every setting
they name exists in the server is a Rust test (crates/server/tests/served/deploy.rs).
"""

import copy
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
TOOLS = ROOT / "target" / "deploy"
# The oldest version that is still maintained, and the newest whose schema is here.
KUBERNETES = ["1.34", "1.37"]
# Not resources: kustomize's own file, and values of another chart.
NO_RESOURCES = {"kustomization.yaml", "prometheus-adapter.yaml"}

findings: list[str] = []


def expect(truth: bool, what: str) -> None:
    if not truth:
        findings.append(what)


def run(*words: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True, check=False)


def documents(file: Path) -> list[dict]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def refused(resource: dict, version: str) -> str | None:
    """What Kubernetes' schema says against a resource; strict: unknown fields are mistakes."""
    try:
        kubernetes_validate.validate(resource, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


def kubernetes() -> dict[str, list[dict]]:
    kinds: dict[str, list[dict]] = {}
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        if file.name in NO_RESOURCES:
            continue
        for resource in documents(file):
            kinds.setdefault(resource["kind"], []).append(resource)
            if resource["kind"] == "PodMonitor":
                continue
            for version in KUBERNETES:
                wrong = refused(resource, version)
                expect(wrong is None, f"{file.name}: {resource['kind']} against {version}: {wrong}")
    listed = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    there = {file.name for file in (DEPLOY / "kubernetes").glob("*.yaml")} - NO_RESOURCES
    expect(set(listed) == there, f"kustomization.yaml lists {sorted(listed)}, there are {sorted(there)}")
    if shutil.which("kubectl"):
        built = run("kubectl", "kustomize", "deploy/kubernetes")
        expect(built.returncode == 0, f"kustomize: {built.stderr}")
    return kinds


def kubernetes_bites(deployment: dict) -> None:
    def container(of: dict) -> dict:
        return of["spec"]["template"]["spec"]["containers"][0]

    def misspelt(of: dict) -> None:
        container(of)["readinesProbe"] = container(of).pop("readinessProbe")

    def mistyped(of: dict) -> None:
        container(of)["ports"][0]["containerPort"] = "grpc"

    for mistake in (misspelt, mistyped):
        wrong = copy.deepcopy(deployment)
        mistake(wrong)
        expect(refused(wrong, KUBERNETES[0]) is not None, f"the schema takes a Deployment that is {mistake.__name__}")


def pod_monitor(monitor: dict, ports: dict[str, int]) -> None:
    """A custom resource: no schema of it is published where one could fetch it, so its few fields are listed here."""
    expect(monitor["apiVersion"] == "monitoring.coreos.com/v1", "PodMonitor: unknown apiVersion")
    expect(set(monitor) == {"apiVersion", "kind", "metadata", "spec"}, "PodMonitor: unknown fields")
    expect(set(monitor["spec"]) == {"selector", "podMetricsEndpoints"}, "PodMonitor: unknown fields in spec")
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        expect(set(endpoint) <= {"port", "path", "interval"}, "PodMonitor: unknown fields of an endpoint")
        expect(endpoint["port"] in ports, f"PodMonitor: no port {endpoint['port']}")


def agreement(kinds: dict[str, list[dict]]) -> None:
    settings = dict(
        line.split("=", 1)
        for line in (DEPLOY / "kubernetes" / "rung.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    pod = kinds["Deployment"][0]["spec"]["template"]
    labels, spec = pod["metadata"]["labels"], pod["spec"]
    container = spec["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name, setting in (("grpc", "RUNG_LISTEN"), ("http", "RUNG_HTTP_LISTEN")):
        expect(settings[setting].endswith(f":{ports[name]}"), f"{setting} and the port {name} differ")
    for service in kinds["Service"]:
        for port in service["spec"]["ports"]:
            expect(ports.get(port["targetPort"]) == port["port"], f"Service {service['metadata']['name']}: ports")
    for kind in ("Service", "PodDisruptionBudget", "PodMonitor", "Deployment"):
        for resource in kinds[kind]:
            selector = resource["spec"]["selector"]
            selector = selector.get("matchLabels", selector)
            expect(selector.items() <= labels.items(), f"{kind}: its selector does not match the pods")
    policy = next(policy for policy in kinds["NetworkPolicy"] if policy["metadata"]["name"] == "rung")
    opened = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    expect(opened == set(ports.values()), f"NetworkPolicy opens {opened}, the pods listen on {ports}")
    grace = spec["terminationGracePeriodSeconds"] * 1000
    delay, drain = int(settings["RUNG_DRAIN_DELAY_MS"]), int(settings["RUNG_DRAIN_TIMEOUT_MS"])
    # Work in flight, the log's writing out and the monitors' last look may each take a drain timeout.
    expect(grace > delay + 3 * drain, "terminationGracePeriodSeconds: shorter than a drain")
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    expect(set(mounted.values()) == {volume["name"] for volume in spec["volumes"]}, "volumes: not all are mounted")
    expect(not any("subPath" in mount for mount in container["volumeMounts"]), "subPath: would never be reloaded")
    for name, value in settings.items():
        if value.startswith("/"):
            inside = any(value.startswith(f"{path}/") for path in mounted)
            expect(inside, f"{name}: {value} lies on no volume")
    hpa = {metric["pods"]["metric"]["name"] for metric in kinds["HorizontalPodAutoscaler"][0]["spec"]["metrics"] if "pods" in metric}
    adapter = yaml.safe_load((DEPLOY / "kubernetes" / "prometheus-adapter.yaml").read_text())
    made = {rule["name"]["as"] for rule in adapter["rules"]["custom"]}
    expect(hpa == made, f"the autoscaler reads {hpa}, the adapter makes {made}")
    pod_monitor(kinds["PodMonitor"][0], ports)
    restricted(spec, container)


def restricted(spec: dict, container: dict) -> None:
    """Pod security standard `restricted`, and the user that the image has."""
    image = (DEPLOY / "container" / "Containerfile").read_text()
    user = next(line.split()[1] for line in image.splitlines() if line.startswith("USER "))
    security = spec["securityContext"]
    expect(f"{security['runAsUser']}:{security['runAsGroup']}" == user, f"the image runs as {user}, the pod does not")
    expect(security["runAsNonRoot"] is True, "runAsNonRoot")
    expect(security["seccompProfile"]["type"] == "RuntimeDefault", "seccompProfile")
    of_container = container["securityContext"]
    expect(of_container["allowPrivilegeEscalation"] is False, "allowPrivilegeEscalation")
    expect(of_container["readOnlyRootFilesystem"] is True, "readOnlyRootFilesystem")
    expect(of_container["capabilities"] == {"drop": ["ALL"]}, "capabilities")
    exposed = next(line for line in image.splitlines() if line.startswith("EXPOSE ")).split()[1:]
    for port in container["ports"]:
        expect(str(port["containerPort"]) in exposed, f"the image does not expose {port['containerPort']}")


def compose() -> None:
    schema = json.loads((TOOLS / "compose-spec" / "package" / "src" / "schema.json").read_text())
    validator = jsonschema.Draft7Validator(schema)
    file = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
    # Younger than the published schema.
    expect(file.pop("name", None) == "rung", "compose.yaml: expected name: rung")
    for error in validator.iter_errors(file):
        findings.append(f"compose.yaml: {'.'.join(map(str, error.path))}: {error.message}")
    wrong = copy.deepcopy(file)
    wrong["services"]["rung-1"]["read_onyl"] = wrong["services"]["rung-1"].pop("read_only")
    expect(not validator.is_valid(wrong), "the schema takes a misspelt read_only")
    image = (DEPLOY / "container" / "Containerfile").read_text()
    for name, service in file["services"].items():
        expect(service.get("read_only") is True, f"compose.yaml: {name}: read_only")
        expect(service.get("cap_drop") == ["ALL"], f"compose.yaml: {name}: cap_drop")
        expect("no-new-privileges:true" in service.get("security_opt", []), f"compose.yaml: {name}: security_opt")
        for secret in service.get("secrets", []):
            expect(secret in file["secrets"], f"compose.yaml: {name}: no secret {secret}")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (DEPLOY / "compose" / source).exists() if source.startswith(".") else source in file["volumes"]
            expect(there, f"compose.yaml: {name}: no volume {source}")
        if name.startswith("rung-"):
            expect(f"USER {service['user']}\n" in image, f"compose.yaml: {name}: another user than the image's")
            expect(service["environment"] == file["x-rung"]["environment"], f"compose.yaml: {name}: settings differ")


def linters() -> None:
    bin_ = TOOLS / "bin"
    lint = run(bin_ / "hadolint", "deploy/container/Containerfile")
    expect(lint.returncode == 0, f"hadolint: {lint.stdout}")
    valid = run(bin_ / "envoy", "--mode", "validate", "-c", "deploy/envoy/envoy.yaml")
    expect(valid.returncode == 0, f"envoy: {valid.stderr[-2000:]}")
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder) / "Containerfile"
        wrong.write_text("FROM debian\nRUN apt-get install curl\n")
        expect(run(bin_ / "hadolint", wrong).returncode != 0, "hadolint takes anything")
        wrong = Path(folder) / "envoy.yaml"
        text = (DEPLOY / "envoy" / "envoy.yaml").read_text()
        wrong.write_text(text.replace("failure_mode_allow", "failure_mode_alow"))
        expect(run(bin_ / "envoy", "--mode", "validate", "-c", wrong).returncode != 0, "envoy takes a misspelt field")


def main() -> int:
    kinds = kubernetes()
    kubernetes_bites(kinds["Deployment"][0])
    agreement(kinds)
    compose()
    linters()
    for finding in findings:
        print(f"deploy: {finding}", file=sys.stderr)
    if not findings:
        resources = sum(map(len, kinds.values()))
        print(f"deploy: all well: {resources} Kubernetes resources, compose.yaml, Containerfile, envoy.yaml")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
