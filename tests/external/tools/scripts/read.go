// Reads a repository of both services page by page, and the image of a tag, with the AWS SDK for Go
// v2. Prints both as JSON. The SDK of Debian 12 reads no address from the environment; later ones do.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	publictypes "github.com/aws/aws-sdk-go-v2/service/ecrpublic/types"
)

type image struct {
	Digest    *string  `json:"digest"`
	Tags      []string `json:"tags"`
	Size      *int64   `json:"size"`
	PushedAt  int64    `json:"pushedAt"`
	MediaType *string  `json:"mediaType"`
}

type read struct {
	Pages []image `json:"pages"`
	ByTag image   `json:"byTag"`
}

func details(digest *string, tags []string, size *int64, pushedAt *time.Time, mediaType *string) image {
	return image{digest, append([]string{}, tags...), size, pushedAt.Unix(), mediaType}
}

func private(found ecrtypes.ImageDetail) image {
	return details(found.ImageDigest, found.ImageTags, found.ImageSizeInBytes, found.ImagePushedAt, found.ImageManifestMediaType)
}

func public(found publictypes.ImageDetail) image {
	return details(found.ImageDigest, found.ImageTags, found.ImageSizeInBytes, found.ImagePushedAt, found.ImageManifestMediaType)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	ctx, repository, tag := context.Background(), &os.Args[1], &os.Args[2]
	configuration, err := config.LoadDefaultConfig(ctx)
	must(err)

	var fromPrivate read
	ecrEndpoint := ecr.EndpointResolverFromURL(os.Getenv("AWS_ENDPOINT_URL_ECR"))
	ecrClient := ecr.NewFromConfig(configuration, ecr.WithEndpointResolver(ecrEndpoint))
	ecrPages := ecr.NewDescribeImagesPaginator(ecrClient, &ecr.DescribeImagesInput{RepositoryName: repository})
	for ecrPages.HasMorePages() {
		page, err := ecrPages.NextPage(ctx)
		must(err)
		for _, found := range page.ImageDetails {
			fromPrivate.Pages = append(fromPrivate.Pages, private(found))
		}
	}
	ecrFound, err := ecrClient.DescribeImages(ctx, &ecr.DescribeImagesInput{
		RepositoryName: repository,
		ImageIds:       []ecrtypes.ImageIdentifier{{ImageTag: tag}},
	})
	must(err)
	fromPrivate.ByTag = private(ecrFound.ImageDetails[0])

	var fromPublic read
	publicEndpoint := ecrpublic.EndpointResolverFromURL(os.Getenv("AWS_ENDPOINT_URL_ECR_PUBLIC"))
	publicClient := ecrpublic.NewFromConfig(configuration, ecrpublic.WithEndpointResolver(publicEndpoint))
	publicPages := ecrpublic.NewDescribeImagesPaginator(publicClient, &ecrpublic.DescribeImagesInput{RepositoryName: repository})
	for publicPages.HasMorePages() {
		page, err := publicPages.NextPage(ctx)
		must(err)
		for _, found := range page.ImageDetails {
			fromPublic.Pages = append(fromPublic.Pages, public(found))
		}
	}
	publicFound, err := publicClient.DescribeImages(ctx, &ecrpublic.DescribeImagesInput{
		RepositoryName: repository,
		ImageIds:       []publictypes.ImageIdentifier{{ImageTag: tag}},
	})
	must(err)
	fromPublic.ByTag = public(publicFound.ImageDetails[0])

	both, err := json.Marshal([]read{fromPrivate, fromPublic})
	must(err)
	fmt.Println(string(both))
}
