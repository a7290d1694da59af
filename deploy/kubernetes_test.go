package deploy

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// object has every field that the manifests may use, as the API of Kubernetes spells
// it: a misspelt one, which a server might drop, fails. A pointer is a value that must
// be set.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name   string
		Labels map[string]string
	}
	Spec yaml.Node
}

type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

type deployment struct {
	Replicas int
	Selector selector
	Template struct {
		Metadata struct{ Labels map[string]string }
		Spec     pod
	}
}

type pod struct {
	AutomountServiceAccountToken  *bool `yaml:"automountServiceAccountToken"`
	EnableServiceLinks            *bool `yaml:"enableServiceLinks"`
	TerminationGracePeriodSeconds int   `yaml:"terminationGracePeriodSeconds"`
	SecurityContext               struct {
		RunAsNonRoot   *bool                 `yaml:"runAsNonRoot"`
		RunAsUser      int                   `yaml:"runAsUser"`
		RunAsGroup     int                   `yaml:"runAsGroup"`
		FSGroup        int                   `yaml:"fsGroup"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	TopologySpreadConstraints []struct {
		MaxSkew           int      `yaml:"maxSkew"`
		TopologyKey       string   `yaml:"topologyKey"`
		WhenUnsatisfiable string   `yaml:"whenUnsatisfiable"`
		LabelSelector     selector `yaml:"labelSelector"`
	} `yaml:"topologySpreadConstraints"`
	Containers []container
	Volumes    []struct {
		Name      string
		ConfigMap *struct{ Name string } `yaml:"configMap"`
		EmptyDir  *struct {
			SizeLimit string `yaml:"sizeLimit"`
		} `yaml:"emptyDir"`
	}
}

type container struct {
	Name, Image string
	Args        []string
	EnvFrom     []struct {
		SecretRef struct{ Name string } `yaml:"secretRef"`
	} `yaml:"envFrom"`
	Env   []struct{ Name, Value string }
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	LivenessProbe   probe `yaml:"livenessProbe"`
	ReadinessProbe  probe `yaml:"readinessProbe"`
	Resources       struct{ Requests, Limits map[string]string }
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   *bool `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Drop []string }
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
	PeriodSeconds    int                         `yaml:"periodSeconds"`
	TimeoutSeconds   int                         `yaml:"timeoutSeconds"`
	FailureThreshold int                         `yaml:"failureThreshold"`
}

type budget struct {
	MinAvailable int `yaml:"minAvailable"`
	Selector     selector
}

type serviceSpec struct {
	Selector map[string]string
	Ports    []struct {
		Name       string
		Port       int
		TargetPort string `yaml:"targetPort"`
	}
}

type policy struct {
	PodSelector selector `yaml:"podSelector"`
	PolicyTypes []string `yaml:"policyTypes"`
	Ingress     []rule
	Egress      []rule
}

type rule struct {
	From, To []struct {
		NamespaceSelector *selector `yaml:"namespaceSelector"`
		PodSelector       *selector `yaml:"podSelector"`
		IPBlock           *struct {
			CIDR   string
			Except []string
		} `yaml:"ipBlock"`
	}
	Ports []struct{ Protocol, Port string }
}

// strictly decodes YAML; a field that into lacks is an error.
func strictly(b []byte, into any) error {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	return dec.Decode(into)
}

// manifests returns the specs of one kind in all manifests, by name.
func manifests[T any](t *testing.T, apiVersion, kind string) map[string]T {
	t.Helper()
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]T{}
	for _, file := range files {
		dec := yaml.NewDecoder(strings.NewReader(read(t, file)))
		dec.KnownFields(true)
		for {
			var o object
			if err := dec.Decode(&o); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if o.Kind != kind {
				continue
			}
			raw, err := yaml.Marshal(o.Spec)
			var spec T
			if err == nil {
				err = strictly(raw, &spec)
			}
			if err != nil || o.APIVersion != apiVersion {
				t.Fatalf("%s: %s %s of %s: %v", file, kind, o.Metadata.Name, o.APIVersion, err)
			}
			found[o.Metadata.Name] = spec
		}
	}
	if len(found) == 0 {
		t.Fatalf("there is no %s", kind)
	}
	return found
}

func TestKubernetes(t *testing.T) {
	roles, known, ports := []string{}, variables(t), map[string]bool{}
	for name, d := range manifests[deployment](t, "apps/v1", "Deployment") {
		if !maps.Equal(d.Selector.MatchLabels, d.Template.Metadata.Labels) || d.Replicas < 2 {
			t.Errorf("%s: %d replicas with the labels %v", name, d.Replicas, d.Template.Metadata.Labels)
		}
		for _, c := range d.Template.Spec.Containers {
			roles = append(roles, strings.Split(c.Args[len(c.Args)-1], ",")...)
			for _, e := range c.Env {
				if !known[e.Name] && e.Name != "GOMEMLIMIT" {
					t.Errorf("%s is not read by the code", e.Name)
				}
			}
			own := map[string]bool{}
			for _, p := range c.Ports {
				ports[p.Name], own[p.Name] = true, true
			}
			if !own[c.LivenessProbe.HTTPGet.Port] || c.LivenessProbe.HTTPGet.Path != "/livez" || !own[c.ReadinessProbe.HTTPGet.Port] || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
				t.Errorf("%s: probes %+v, %+v", name, c.LivenessProbe, c.ReadinessProbe)
			}
		}
	}
	slices.Sort(roles)
	if !slices.Equal(roles, []string{"aggregator", "enforcer", "ingest", "notifier"}) {
		t.Errorf("the roles are %v", roles)
	}
	for name, s := range manifests[serviceSpec](t, "v1", "Service") {
		for _, p := range s.Ports {
			if !ports[p.TargetPort] {
				t.Errorf("%s leads to the port %s, which no pod has", name, p.TargetPort)
			}
		}
	}
}

// TestKubernetesIsRestricted holds the pods to the level "restricted" of the Pod
// Security Standards, and to more: a read-only root, no token, bounded resources.
func TestKubernetesIsRestricted(t *testing.T) {
	yes := func(b *bool) bool { return b != nil && *b }
	no := func(b *bool) bool { return b != nil && !*b }
	for name, d := range manifests[deployment](t, "apps/v1", "Deployment") {
		p := d.Template.Spec
		if sc := p.SecurityContext; !yes(sc.RunAsNonRoot) || sc.RunAsUser == 0 || sc.RunAsGroup == 0 || sc.SeccompProfile.Type != "RuntimeDefault" {
			t.Errorf("%s: the pod's security context is %+v", name, sc)
		}
		if !no(p.AutomountServiceAccountToken) || !no(p.EnableServiceLinks) {
			t.Errorf("%s is given what it does not need", name)
		}
		for _, v := range p.Volumes {
			if v.ConfigMap == nil && (v.EmptyDir == nil || v.EmptyDir.SizeLimit == "") {
				t.Errorf("%s: the volume %s is unbounded or of another kind", name, v.Name)
			}
		}
		if len(p.Containers) == 0 {
			t.Errorf("%s has no container", name)
		}
		for _, c := range p.Containers {
			sc := c.SecurityContext
			if !no(sc.AllowPrivilegeEscalation) || !yes(sc.ReadOnlyRootFilesystem) || !slices.Equal(sc.Capabilities.Drop, []string{"ALL"}) {
				t.Errorf("%s: the container's security context is %+v", name, sc)
			}
			for _, resource := range []string{"cpu", "memory", "ephemeral-storage"} {
				if c.Resources.Requests[resource] == "" || c.Resources.Limits[resource] == "" {
					t.Errorf("%s has no request or limit of %s", name, resource)
				}
			}
		}
	}
}

// TestKubernetesSurvivesADrain: each deployment keeps a pod when nodes are drained, and
// its pods stand on several nodes and zones.
func TestKubernetesSurvivesADrain(t *testing.T) {
	budgets := manifests[budget](t, "policy/v1", "PodDisruptionBudget")
	for name, d := range manifests[deployment](t, "apps/v1", "Deployment") {
		b, ok := budgets[name]
		if !ok || b.MinAvailable < 1 || b.MinAvailable >= d.Replicas || !maps.Equal(b.Selector.MatchLabels, d.Selector.MatchLabels) {
			t.Errorf("%s: budget %+v", name, b)
		}
		var keys []string
		for _, c := range d.Template.Spec.TopologySpreadConstraints {
			if keys = append(keys, c.TopologyKey); c.MaxSkew != 1 || !maps.Equal(c.LabelSelector.MatchLabels, d.Selector.MatchLabels) {
				t.Errorf("%s: spread %+v", name, c)
			}
		}
		if !slices.Equal(keys, []string{"kubernetes.io/hostname", "topology.kubernetes.io/zone"}) {
			t.Errorf("%s is spread over %v", name, keys)
		}
	}
}

// TestKubernetesNetwork: what no policy names is denied; only the public port is open
// to all, and no egress leads to addresses inside, such as a cloud's metadata.
func TestKubernetesNetwork(t *testing.T) {
	policies := manifests[policy](t, "networking.k8s.io/v1", "NetworkPolicy")
	denies := policies["tidegate-deny"]
	if !slices.Equal(denies.PolicyTypes, []string{"Ingress", "Egress"}) || len(denies.Ingress)+len(denies.Egress) > 0 || !maps.Equal(denies.PodSelector.MatchLabels, map[string]string{"app": "tidegate"}) {
		t.Errorf("the denial is %+v", denies)
	}
	for name, p := range policies {
		for _, r := range append(p.Ingress, p.Egress...) {
			open := len(r.From)+len(r.To) == 0
			if len(r.Ports) == 0 || open && (len(r.Ports) != 1 || r.Ports[0].Port != "public") {
				t.Errorf("%s allows everything: %+v", name, r)
			}
			for _, to := range append(r.From, r.To...) {
				if block := to.IPBlock; block != nil && block.CIDR == "0.0.0.0/0" &&
					(!slices.Contains(block.Except, "169.254.0.0/16") || !slices.Contains(block.Except, "10.0.0.0/8")) {
					t.Errorf("%s leads inside: %+v", name, block)
				}
			}
		}
	}
}
