module fusionrun.local/kubelet

go 1.24
