package rest

import (
	"errors"
	"strings"

	"github.com/berth-iot/berth/contract"
	"github.com/berth-iot/berth/endpoint/https"
	"github.com/berth-iot/berth/fault"
	"github.com/berth-iot/berth/hub"
	"github.com/berth-iot/berth/hub/job"
)

// hubTransfers are the operations on imports and exports of identities (Azure, IoT Hub
// service REST API).
func hubTransfers() []https.Operation {
	return []https.Operation{
		iot("POST", contract.RegistryJobCreatePath, hub.RegistryWrite, https.SmallBody, createTransfer),
		iot("GET", contract.RegistryJobsPath, hub.RegistryRead, 0, listTransfers),
		iot("GET", contract.RegistryJobPath, hub.RegistryRead, 0, getTransfer),
		iot("DELETE", contract.RegistryJobPath, hub.RegistryWrite, 0, cancelTransfer),
	}
}

// createTransfer takes up an import or export. Only containers with a signature of their own
// are reached: this server has no identity at a storage account.
func createTransfer(c *https.Call) (any, error) {
	var body contract.RegistryJob
	if err := c.Decode(&body); err != nil {
		return nil, err
	}
	kind := job.Kind(strings.ToLower(body.Type))
	switch {
	case kind != job.Import && kind != job.Export:
		return nil, fault.New(fault.ArgumentInvalid, "type must be import or export, not %.64q", body.Type)
	case strings.EqualFold(body.StorageAuthenticationType, "identityBased"):
		return nil, fault.New(fault.ArgumentInvalid, "storageAuthenticationType must be keyBased: give the containers "+
			"with a shared access signature")
	case body.IncludeConfigurations:
		return nil, fault.New(fault.ArgumentInvalid, "includeConfigurations is not served by this version of Berth")
	}
	created, err := c.Hub.Jobs().CreateTransfer(c.Context(), kind, job.Transfer{Input: body.InputBlobContainerURI,
		InputBlob: body.InputBlobName, Output: body.OutputBlobContainerURI, OutputBlob: body.OutputBlobName,
		ExcludeKeys: body.ExcludeKeysInExport})
	if err != nil {
		return nil, err
	}
	return created.DescribeTransfer(), nil
}

// listTransfers lists the imports and exports whose history is not over.
func listTransfers(c *https.Call) (any, error) {
	described := []contract.RegistryJob{}
	for after, more := "", true; more && len(described) < https.MaxPage; {
		found, next, err := c.Hub.Jobs().List(c.Context(), after, https.MaxPage, job.Job.IsTransfer)
		if err != nil {
			return nil, err
		}
		for _, j := range found {
			described = append(described, j.DescribeTransfer())
		}
		after, more = next, next != ""
	}
	return described, nil
}

func findTransfer(c *https.Call) (job.Job, error) {
	found, err := c.Hub.Jobs().Get(c.Context(), c.Parameter("id"))
	if err == nil && !found.IsTransfer() {
		err = fault.New(fault.JobNotFound, "There is no import or export %.128q", c.Parameter("id"))
	}
	return found, err
}

func getTransfer(c *https.Call) (any, error) {
	found, err := findTransfer(c)
	if err != nil {
		return nil, err
	}
	return found.DescribeTransfer(), nil
}

// cancelTransfer cancels an import or export, also one that has begun. That one has ended is
// no mistake.
func cancelTransfer(c *https.Call) (any, error) {
	if err := checkNoETag(c); err != nil {
		return nil, err
	}
	found, err := findTransfer(c)
	if err != nil {
		return nil, err
	}
	_, err = c.Hub.Jobs().Cancel(c.Context(), found.ID, true)
	if errors.Is(err, fault.OperationNotAllowed) {
		err = nil
	}
	return nil, err
}
